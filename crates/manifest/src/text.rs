//! Text of others, as it stands in a message of ours.

/// The text on one line, whatever it holds: control characters as `\x0a`.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if is_control(character) {
            out.push_str(&format!("\\x{:02x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

/// One character: `'?'`, or `U+000A` where it is not printable ASCII.
pub fn named(character: char) -> String {
    if character == ' ' || character.is_ascii_graphic() { format!("'{character}'") } else { format!("U+{:04X}", u32::from(character)) }
}

/// Whether it is below U+0020, or U+007F.
pub fn is_control(character: char) -> bool {
    character.is_ascii_control()
}
