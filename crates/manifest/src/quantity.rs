//! Spans of time and amounts of memory, as people write them.

/// Milliseconds of a text such as `60s`, `5m`, `1.5h` or `250ms`. Errs with what is wrong.
pub(crate) fn milliseconds(text: &str) -> Result<u64, &'static str> {
    const UNITS: [(&str, f64); 5] = [("ms", 1.0), ("min", 60_000.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0)];
    match scaled(text, &UNITS) {
        // 0.29 s is 289.99999999999994 ms to the processor.
        Some(value) if (value - value.round()).abs() < 1e-6 => whole(value.round()).ok_or("it is too large"),
        Some(_) => Err("it is no whole number of milliseconds"),
        None => Err("a time is a number with ms, s, m or h"),
    }
}

/// MiB of a text such as `512MiB`, `2GiB` or `2GB`, whose bytes are rounded down. Errs with what is wrong.
pub(crate) fn mebibytes(text: &str) -> Result<u64, &'static str> {
    const MIB: f64 = 1024.0 * 1024.0;
    const UNITS: [(&str, f64); 6] =
        [("MiB", 1.0), ("GiB", 1024.0), ("TiB", 1024.0 * 1024.0), ("MB", 1e6 / MIB), ("GB", 1e9 / MIB), ("TB", 1e12 / MIB)];
    match scaled(text, &UNITS) {
        Some(value) => whole(value.floor()).ok_or("it is too large"),
        None => Err("memory is a number with MiB, GiB, MB or GB"),
    }
}

/// A whole number that a `f64` holds exactly.
pub(crate) fn whole(value: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole, positive and below 2^53")]
    ((0.0..9e15).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

fn scaled(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let number = number.trim_end();
    // What `f64` takes beside digits (`inf`, `1e3`, `+1`) is no amount.
    if number.is_empty() || !number.chars().all(|character| character.is_ascii_digit() || character == '.') {
        return None;
    }
    number.parse::<f64>().ok().map(|number| number * factor)
}

#[cfg(test)]
mod tests {
    use super::{mebibytes, milliseconds};

    #[test]
    fn times_have_units() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(milliseconds(text).ok(), expected, "{text}");
        check("60s", Some(60_000));
        check("250ms", Some(250));
        check("5m", Some(300_000));
        check("5 min", Some(300_000));
        check("1.5h", Some(5_400_000));
        check("0.29s", Some(290));
        check("99999999999999h", None);
        check(" 0s ", Some(0));
        check("0.5ms", None);
        for text in ["", "s", "60", "-1s", "1e3s", "infs", "+1s", "1d", "1 2s", "1..2s", "60S"] {
            check(text, None);
        }
    }

    #[test]
    fn memory_has_units() {
        let check = |text: &str, expected: Option<u64>| assert_eq!(mebibytes(text).ok(), expected, "{text}");
        check("512MiB", Some(512));
        check("2GiB", Some(2048));
        check("0.5 GiB", Some(512));
        check("2GB", Some(1907));
        check("1TiB", Some(1_048_576));
        for text in ["", "2", "2G", "2gib", "-1GiB", "99999999999TiB"] {
            check(text, None);
        }
    }
}
