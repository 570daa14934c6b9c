//! What is wrong with a head of HTTP/1.1 that hyper refuses, and in which of its lines: hyper names the kind alone. Nothing but a
//! refusal costs the look.

use memchr::memchr;

/// What a caller is told whose request begins with these bytes, and was refused; `None` where nothing is found.
pub(crate) fn fault(head: &[u8]) -> Option<String> {
    let mut lines = Lines(head);
    let first = lines.find(|line| !line.is_empty())?;
    if let Some(wrong) = first_line(first) {
        return Some(format!("its first line {wrong}"));
    }
    for (number, line) in (2..).zip(lines.take_while(|line| !line.is_empty())) {
        if let Some(wrong) = field(line) {
            return Some(format!("line {number} of its head {wrong}"));
        }
    }
    None
}

/// Without what ends them; the last one may not have come whole.
struct Lines<'head>(&'head [u8]);

impl<'head> Iterator for Lines<'head> {
    type Item = &'head [u8];

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let end = memchr(b'\n', self.0).unwrap_or(self.0.len());
        let line = &self.0[..end];
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }
}

fn first_line(line: &[u8]) -> Option<String> {
    if line.ends_with(b" ") || line.ends_with(b"\t") {
        return Some("ends with white space: it ends with the version, as in `GET / HTTP/1.1`".into());
    }
    let parts: Vec<_> = line.split(|byte| *byte == b' ').collect();
    if parts.iter().any(|part| part.is_empty() || part.contains(&b'\t')) {
        return Some("has other white space than one space before its target, and one behind it".into());
    }
    let [method, target @ .., version] = parts.as_slice() else { return None };
    if let Some(byte) = method.iter().find(|byte| !is_token(**byte)) {
        return Some(format!("has the byte 0x{byte:02x} in its method"));
    }
    if !version.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"HTTP/")) {
        return Some("has no version at its end, as in `GET / HTTP/1.1`".into());
    }
    if !matches!(*version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Some("does not end with `HTTP/1.1` or `HTTP/1.0`, in capitals".into());
    }
    match target {
        [] => Some("has no target, as in `GET / HTTP/1.1`".into()),
        [target] => match target.iter().find(|byte| byte.is_ascii_control()) {
            Some(byte) => Some(format!("has the byte 0x{byte:02x} in its target, which is written as `%{byte:02X}`")),
            None if target.starts_with(b"/") => None,
            None => Some("has a target that is neither a path, which begins with `/`, nor a URL".into()),
        },
        _ => Some("has a space in its target, which is written as `%20`".into()),
    }
}

fn field(line: &[u8]) -> Option<String> {
    let Some(colon) = memchr(b':', line) else { return Some("has no colon, as in `name: value`".into()) };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() {
        return Some("has no name before its colon".into());
    }
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        return Some("has white space before its colon".into());
    }
    if let Some(byte) = name.iter().find(|byte| !is_token(**byte)) {
        return Some(format!("has the byte 0x{byte:02x} in its name"));
    }
    let byte = value.iter().find(|byte| byte.is_ascii_control() && **byte != b'\t')?;
    Some(format!("has the byte 0x{byte:02x} in its value"))
}

/// Whether methods and names may have it.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn the_line_is_named_and_what_is_wrong_with_it() {
        for (head, expected) in [
            ("GET / \r\n", "its first line ends with white space: it ends with the version, as in `GET / HTTP/1.1`"),
            ("GET / HTTP/1.1 \r\n", "its first line ends with white space: it ends with the version, as in `GET / HTTP/1.1`"),
            ("\r\n\r\nGET /\r\nHost: a\r\n\r\n", "its first line has no version at its end, as in `GET / HTTP/1.1`"),
            ("GET HTTP/1.1\r\n", "its first line has no target, as in `GET / HTTP/1.1`"),
            ("GET  / HTTP/1.1\r\n", "its first line has other white space than one space before its target, and one behind it"),
            ("GET\t/ HTTP/1.1\r\n", "its first line has other white space than one space before its target, and one behind it"),
            ("GET /a b HTTP/1.1\r\n", "its first line has a space in its target, which is written as `%20`"),
            ("GET /\x7f HTTP/1.1\r\n", "its first line has the byte 0x7f in its target, which is written as `%7F`"),
            ("GET a HTTP/1.1\r\n", "its first line has a target that is neither a path, which begins with `/`, nor a URL"),
            ("\x19GET / HTTP/1.1\r\n", "its first line has the byte 0x19 in its method"),
            ("GET / HTTP/1.2\r\n", "its first line does not end with `HTTP/1.1` or `HTTP/1.0`, in capitals"),
            ("GET / http/1.1", "its first line does not end with `HTTP/1.1` or `HTTP/1.0`, in capitals"),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "line 2 of its head has white space before its colon"),
            ("GET / HTTP/1.1\r\nHost: a\r\n: a\r\n\r\n", "line 3 of its head has no name before its colon"),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "line 3 of its head has no colon, as in `name: value`"),
            ("GET / HTTP/1.1\r\nX\0: a\r\n\r\n", "line 2 of its head has the byte 0x00 in its name"),
            ("GET / HTTP/1.1\r\nX: a\rb\r\n\r\n", "line 2 of its head has the byte 0x0d in its value"),
        ] {
            assert_eq!(fault(head.as_bytes()).as_deref(), Some(expected), "{head:?}");
        }
        for head in ["", "\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX:\té \r\n\r\n\0"] {
            assert_eq!(fault(head.as_bytes()), None, "{head:?}");
        }
    }
}
