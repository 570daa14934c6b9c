//! Forms as values: what comes out of which bytes. `tests/e2e/test_forms.py` holds the same rules against FastAPI's.

use bytes::Bytes;
use flash_wire::{Part, PartValue};
use proptest::prelude::*;

use super::{Announced, Error, FormLimits, parameters};

const MULTIPART: &[u8] = b"multipart/form-data; boundary=x";

fn parse(content_type: &[u8], body: &[u8]) -> Result<Vec<Part>, Error> {
    parse_within(content_type, body, &FormLimits::default())
}

fn parse_within(content_type: &[u8], body: &[u8], limits: &FormLimits) -> Result<Vec<Part>, Error> {
    Announced::by(content_type).expect("this is a form").parts(&Bytes::copy_from_slice(body), limits)
}

fn field(name: &str, text: &str) -> Part {
    Part { name: name.into(), value: PartValue::Text(text.into()) }
}

fn file(name: &str, filename: &str, content_type: &'static str, content: &'static str) -> Part {
    let value = PartValue::File { filename: filename.into(), content_type: content_type.into(), content: content.into() };
    Part { name: name.into(), value }
}

/// A body of parts with these heads and contents.
fn multipart(parts: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, content) in parts {
        body.extend(format!("--x\r\n{head}\r\n\r\n{content}\r\n").bytes());
    }
    body.extend(b"--x--\r\n");
    body
}

const A: &str = "Content-Disposition: form-data; name=\"a\"";
const FILE: &str = "Content-Disposition: form-data; name=\"f\"; filename=\"n.txt\"\r\nContent-Type: text/plain";

#[test]
fn fields_and_files_come_in_their_order() {
    let body = multipart(&[(A, "1"), (FILE, "\r\n--y\r\n"), (A, ""), (&A.to_lowercase(), "--x")]);
    let expected = [field("a", "1"), file("f", "n.txt", "text/plain", "\r\n--y\r\n"), field("a", ""), field("a", "--x")];
    assert_eq!(parse(MULTIPART, &body).unwrap(), expected);
}

#[test]
fn a_form_may_have_no_parts() {
    for content_type in [MULTIPART, b"application/x-www-form-urlencoded"] {
        assert_eq!(parse(content_type, b""), Ok(vec![]));
    }
    assert_eq!(parse(MULTIPART, b"--x--\r\n"), Ok(vec![]));
    assert_eq!(parse(b"application/x-www-form-urlencoded", b"&&"), Ok(vec![]));
}

#[test]
fn line_breaks_before_the_parts_and_anything_after_them_mean_nothing() {
    let whole = multipart(&[(A, "1")]);
    for before in ["\r\n", "\n", "\r", "\r\n\r\n", "\r\na"] {
        let body = [before.as_bytes(), &whole, b"and --x\r\n an end"].concat();
        assert_eq!(parse(MULTIPART, &body).unwrap(), [field("a", "1")]);
    }
    for before in ["a", "\r\na-", "-", "a\r\n", "--xy"] {
        let body = [before.as_bytes(), &multipart(&[(A, "1"), (A, "2")])].concat();
        assert_eq!(parse(MULTIPART, &body), Err(Error::NoBeginning), "no part is dropped without a word");
    }
    let padded = String::from_utf8(multipart(&[(A, "1"), (A, "2")])).unwrap().replace("--x\r\n", "--x \t\r\n");
    assert_eq!(parse(MULTIPART, padded.as_bytes()).unwrap(), [field("a", "1"), field("a", "2")]);
}

#[test]
fn a_line_that_only_begins_like_the_boundary_is_content() {
    let body = multipart(&[(A, "1\r\n--xy\r\n--x-\r\n--x z")]);
    assert_eq!(parse(MULTIPART, &body).unwrap(), [field("a", "1\r\n--xy\r\n--x-\r\n--x z")]);
}

#[test]
fn names_are_read_where_they_stand_and_not_within_others() {
    let named = |rest: &str| parse(MULTIPART, &multipart(&[(&format!("Content-Disposition: form-data; {rest}"), "")]));
    assert_eq!(named(r#"filename="a; name=b"; name="c""#).unwrap(), [file("c", "a; name=b", "", "")]);
    assert_eq!(named(r#"name="c\\"; filename="f""#).unwrap(), [field(r#"c"; filename="f"#, "")], "as FastAPI has it");
    assert_eq!(named(r#"name="a\"b;c""#).unwrap(), [field(r#"a"b;c"#, "")]);
    assert_eq!(named("NAME = c ; FileName=").unwrap(), [file("c", "", "", "")]);
    assert_eq!(named("name=a; name=b").unwrap(), [field("b", "")]);
    assert_eq!(named("name").unwrap(), [field("", "")]);
    assert_eq!(named(r#"name="f"; filename="old.txt"; filename*=UTF-8''new.txt"#).unwrap(), [file("f", "old.txt", "", "")]);
    assert_eq!(named(r#"name="f"; filename="C:\dir\new.txt""#).unwrap(), [file("f", "new.txt", "", "")]);
    assert_eq!(named("filename=a"), Err(Error::NoName(1)));
}

#[test]
fn a_part_without_a_head_is_refused_and_takes_no_others() {
    let body = [b"--x\r\n\r\nsecret\r\n".as_slice(), &multipart(&[(A, "1")])].concat();
    assert_eq!(parse(MULTIPART, &body), Err(Error::NoName(1)));
    let body = multipart(&[(A, "1"), ("Content-Type: text/plain", "2")]);
    assert_eq!(parse(MULTIPART, &body), Err(Error::NoName(2)));
}

#[test]
fn text_is_utf8_or_else_latin1() {
    let body = b"--x\r\nContent-Disposition: form-data; name=\"\xe9\"\r\n\r\n\xc3\xa9\r\n--x--";
    assert_eq!(parse(MULTIPART, body).unwrap(), [field("é", "é")]);
    assert_eq!(parse(b"multipart/form-data; charset=ISO-8859-1; boundary=x", body).unwrap(), [field("é", "Ã©")]);
    let refused = parse(b"multipart/form-data; charset=utf-16; boundary=x", body);
    assert_eq!(refused, Err(Error::Charset("utf-16".into())));
}

#[test]
fn what_is_no_multipart_body_is_refused() {
    let whole = multipart(&[(A, "1"), (FILE, "2")]);
    for (content_type, body, error) in [
        (&b"multipart/form-data"[..], &whole[..], Error::NoBoundary),
        (b"multipart/form-data; boundary=", &whole, Error::NoBoundary),
        (b"multipart/form-data; boundary=\"\"", &whole, Error::NoBoundary),
        (b"multipart/form-data; boundary=y", &whole, Error::NoBeginning),
        (MULTIPART, b"name=a", Error::NoBeginning),
        (MULTIPART, b"--x", Error::NoBeginning),
        (MULTIPART, b"--x\r\n", Error::BreaksOff(1)),
        (MULTIPART, b"--x\r\nA: b\r\n", Error::BreaksOff(1)),
        (MULTIPART, b"--x\r\n no: b\r\n\r\n", Error::BadHead(1)),
        (MULTIPART, b"--x\r\nA : b\r\n\r\n", Error::BadHead(1)),
        (MULTIPART, b"--x\r\nA\r\n\r\n", Error::BadHead(1)),
        (MULTIPART, b"--x\r\n: b\r\n\r\n", Error::BadHead(1)),
        (MULTIPART, b"--x\r\nA: b\rc\r\n\r\n", Error::BadHead(1)),
        (MULTIPART, b"--x\r\n--x--\r\n", Error::BadHead(1)),
    ] {
        assert_eq!(parse(content_type, body), Err(error), "{}", body.escape_ascii());
    }
    let end = whole.len() - b"\r\n--x--\r\n".len();
    for length in end..end + b"\r\n--x-".len() {
        assert_eq!(parse(MULTIPART, &whole[..length]), Err(Error::BreaksOff(2)));
    }
    let long = [b"multipart/form-data; boundary=".as_slice(), &[b'b'; 257]].concat();
    assert_eq!(parse(&long, &whole), Err(Error::LongBoundary(257)));
}

#[test]
fn limits_hold_and_are_told() {
    let limits = FormLimits { fields: 2, files: 1, field_bytes: 3, head_bytes: 100 };
    let multi = |parts: &[(&str, &str)]| parse_within(MULTIPART, &multipart(parts), &limits);
    assert!(multi(&[(A, "123"), (FILE, "12345"), (A, "")]).is_ok());
    assert_eq!(multi(&[(A, "1"), (A, "2"), (FILE, ""), (A, "3")]), Err(Error::ManyFields(2)));
    assert_eq!(multi(&[(FILE, ""), (A, ""), (FILE, "")]), Err(Error::ManyFiles(1)));
    assert_eq!(multi(&[(A, "1"), (FILE, ""), (A, "1234")]), Err(Error::LongField { field: 2, limit: 3 }));
    let long = |bytes: usize| format!("{A}\r\nX: {}", "y".repeat(bytes - A.len() - "\r\nX: \r\n".len()));
    assert!(multi(&[(&long(100), "")]).is_ok());
    assert_eq!(multi(&[(A, ""), (&long(101), "")]), Err(Error::LongHead { part: 2, limit: 100 }));
    let endless = [b"--x\r\n".as_slice(), &[b'y'; 200]].concat();
    assert_eq!(parse_within(MULTIPART, &endless, &limits), Err(Error::LongHead { part: 1, limit: 100 }));

    let encoded = |body: &[u8]| parse_within(b"application/x-www-form-urlencoded", body, &limits);
    assert!(encoded(b"a=23&b").is_ok());
    assert_eq!(encoded(b"a&b&&c"), Err(Error::ManyFields(2)));
    assert_eq!(encoded(b"a&b=345"), Err(Error::LongField { field: 2, limit: 3 }));
    let told = Error::LongField { field: 2, limit: 3 }.to_string();
    assert_eq!(told, "field 2 of the form is longer than the 3 bytes that are allowed");
}

#[test]
fn url_encoded_fields_are_read_as_python_does() {
    let encoded = |body: &[u8]| parse(b"application/x-www-form-urlencoded", body).unwrap();
    let all = encoded(b"a=1&b=&c&=d&a=x=y&&e+%65=%C3%A9+%2B&");
    let expected = [field("a", "1"), field("b", ""), field("c", ""), field("", "d"), field("a", "x=y"), field("e e", "é +")];
    assert_eq!(all, expected);
    assert_eq!(encoded(b"a=%FF%zz%4;\xc3\xa9%"), [field("a", "\u{fffd}%zz%4;Ã©%")]);
}

#[test]
fn only_forms_are_forms() {
    for content_type in ["multipart/form-data", "Multipart/Form-Data ; boundary=x", " application/x-www-form-urlencoded; charset=utf-8"] {
        assert!(Announced::by(content_type.as_bytes()).is_some(), "{content_type}");
    }
    for content_type in ["", "application/json", "multipart/mixed; boundary=x", "multipart/form-data/x", "\"multipart/form-data\""] {
        assert!(Announced::by(content_type.as_bytes()).is_none(), "{content_type}");
    }
}

proptest! {
    #[test]
    fn a_multipart_form_comes_back_part_for_part(
        contents in proptest::collection::vec((any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        let boundary = "a boundary that is in none of them";
        let mut body = Vec::new();
        let mut expected = Vec::new();
        for (is_file, content) in contents {
            let (head, value) = if is_file {
                let value = PartValue::File { filename: "f".into(), content_type: "a/b".into(), content: content.clone().into() };
                ("Content-Disposition: form-data; name=n; filename=f\r\nContent-Type: a/b", value)
            } else {
                let latin1 = || content.iter().copied().map(char::from).collect();
                let text = String::from_utf8(content.clone()).unwrap_or_else(|_| latin1());
                ("Content-Disposition: form-data; name=n", PartValue::Text(text))
            };
            body.extend(format!("--{boundary}\r\n{head}\r\n\r\n").bytes());
            body.extend(&content);
            body.extend(b"\r\n");
            expected.push(Part { name: "n".into(), value });
        }
        body.extend(format!("--{boundary}--").bytes());
        let content_type = format!("multipart/form-data; boundary=\"{boundary}\"");
        prop_assert_eq!(parse(content_type.as_bytes(), &body), Ok(expected));
    }

    #[test]
    fn whatever_comes_is_taken_apart_or_refused(
        pieces in proptest::collection::vec(prop_oneof![
            proptest::sample::select(vec!["--x", "\r\n", "--", ":", "Content-Disposition", "form-data; ", "name=\"a\"", "filename=", "\"", "\\", ";", "&", "=", "%4"])
                .prop_map(|piece| piece.as_bytes().to_vec()),
            proptest::collection::vec(any::<u8>(), 0..4),
        ], 0..30),
    ) {
        let body = pieces.concat();
        let _ = parse(MULTIPART, &body);
        let _ = parse(b"application/x-www-form-urlencoded", &body);
        let _ = parameters::parse(&body);
    }
}
