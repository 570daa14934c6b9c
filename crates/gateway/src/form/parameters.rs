//! The parameters of a header: `form-data; name="a"; filename="b"`, as python-multipart reads them.

/// Names in lower case, and values without their quotes, in the order in which they stand.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(Vec<u8>, Vec<u8>)>);

impl Parameters {
    /// The value of a parameter; of several the last.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value.as_slice())
    }
}

/// What stands before the first `;`, in lower case, and the parameters. Everything means something: there are no errors.
pub(crate) fn parse(header: &[u8]) -> (Vec<u8>, Parameters) {
    let mut segments = segments(header);
    let first = trim(segments.next().unwrap_or_default()).to_ascii_lowercase();
    let mut parameters = Parameters::default();
    for segment in segments {
        let (name, value) = match memchr::memchr(b'=', segment) {
            Some(end) => (trim(&segment[..end]).to_ascii_lowercase(), trim(&segment[end + 1..])),
            None => (trim(segment).to_vec(), &b""[..]),
        };
        // `name*=utf-8''...` has no place in a form (RFC 7578, 4.2): the plain name beside it counts.
        if !name.contains(&b'*') {
            let value = own(&name, unquoted(value));
            parameters.0.push((name, value));
        }
    }
    (first, parameters)
}

/// What `;` separates where it is not within quotes.
fn segments(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut previous = 0;
    header.split(move |byte| {
        if *byte == b'"' && previous != b'\\' {
            quoted = !quoted;
        }
        previous = *byte;
        *byte == b';' && !quoted
    })
}

fn unquoted(value: &[u8]) -> Vec<u8> {
    match value {
        [b'"', inner @ .., b'"'] => replaced(&replaced(inner, br"\\", br"\"), br#"\""#, b"\""),
        _ => value.to_vec(),
    }
}

/// Old browsers send a file's whole path as its name.
fn own(name: &[u8], value: Vec<u8>) -> Vec<u8> {
    let is_path = value.get(1..3) == Some(br":\") || value.starts_with(br"\\");
    if name != b"filename" || !is_path {
        return value;
    }
    let start = memchr::memrchr(b'\\', &value).map_or(0, |last| last + 1);
    value[start..].to_vec()
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut start = 0;
    for found in memchr::memmem::find_iter(text, from) {
        out.extend_from_slice(&text[start..found]);
        out.extend_from_slice(to);
        start = found + from.len();
    }
    out.extend_from_slice(&text[start..]);
    out
}

fn trim(text: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().take_while(|byte| is_blank(byte)).count();
    let end = text.iter().rev().take_while(|byte| is_blank(byte)).count();
    text.get(start..text.len() - end).unwrap_or_default()
}
