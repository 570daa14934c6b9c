use proptest::prelude::*;

use super::*;

/// Where a message ended, of those that `bytes` begins, and what came of the rest.
fn ends(bytes: &[u8]) -> (Vec<usize>, Result<(), Doubt>) {
    let mut framing = Framing::default();
    let mut ends = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        let before = framing.at;
        if let Err((_, doubt)) = framing.take(&[*byte]) {
            return (ends, Err(doubt));
        }
        if framing.at == At::Between && before != At::Between {
            ends.push(index + 1);
        }
    }
    (ends, Ok(()))
}

fn check(head: &str, expected: Result<(), Doubt>) {
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{head}\r\n");
    let mut whole = Framing::default();
    let taken = whole.take(request.as_bytes()).map_err(|(_, doubt)| doubt);
    assert_eq!(taken, expected, "{head:?}");
    assert_eq!(ends(request.as_bytes()).1, expected, "{head:?}, byte by byte");
}

#[test]
fn a_body_s_length_is_said_once_and_in_one_way() {
    check("Content-Length: 0\r\n", Ok(()));
    check("content-length:\t7 \r\n", Ok(()));
    check("Transfer-Encoding: Chunked\r\n", Ok(()));
    check("Content-Length: 1\r\nContent-Length: 1\r\n", Err(Doubt::Lengths));
    check("Content-Length: 1\r\ncontent-length: 2\r\n", Err(Doubt::Lengths));
    check("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", Err(Doubt::Both));
    check("Transfer-Encoding: chunked\r\nX: y\r\nCONTENT-LENGTH: 1\r\n", Err(Doubt::Both));
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(Doubt::Coding));
    check("Transfer-Encoding: chunked, identity\r\n", Err(Doubt::Coding));
    check("Transfer-Encoding: xchunked\r\n", Err(Doubt::Coding));
    check("Transfer-Encoding:\r\n", Err(Doubt::Coding));
    check("Transfer-Encoding: gzip, chunked\r\n", Err(Doubt::Codings));
    for length in [u64::MAX, u64::MAX - 1] {
        check(&format!("Content-Length: {length}\r\n"), Err(Doubt::TooLong));
    }
    check("Content-Length: 18446744073709551613\r\n", Ok(()));
    for length in ["", "+1", "-1", "1, 1", "0x1", "1 1", "18446744073709551616", "one"] {
        check(&format!("Content-Length: {length}\r\n"), Err(Doubt::Length));
    }
}

#[test]
fn a_line_ends_with_both_bytes_and_is_not_continued() {
    check("A: b\n", Err(Doubt::Feed));
    check("\n", Err(Doubt::Feed));
    check("A: b\r\n c\r\n", Err(Doubt::Folded));
    check("A: b\r\n\tc\r\n", Err(Doubt::Folded));
    assert_eq!(ends(b"\r\n\nGET / HTTP/1.1\r\n\r\n"), (vec![21], Ok(())));
}

#[test]
fn a_chunk_has_a_size_and_ends_where_it_says() {
    let body = |body: &str| {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (ends, taken) = ends(format!("{head}{body}").as_bytes());
        taken.map(|()| ends.first().map(|end| end - head.len()))
    };
    assert_eq!(body("0\r\n\r\n"), Ok(Some(5)));
    assert_eq!(body("1\r\na\r\n0\r\n\r\n"), Ok(Some(11)));
    assert_eq!(body("a;name=\"value\"\r\n0123456789\r\n00\t \r\nTrailer: x\r\n\r\nGET"), Ok(Some(48)));
    assert_eq!(body("0\r\nTrailer: x\r\n"), Ok(None));
    for bad in [
        "\r\n",
        "x\r\n",
        " 1\r\na\r\n",
        "+1\r\na",
        "0x1\r\na",
        "1\na",
        "1\r\nab",
        "1\r\na\n0",
        "1 1\r\n",
        "1;\x00\r\n",
        "1;a\nb\r\n",
        "1\r\r\n",
        "00000000000000000\r\n",
    ] {
        assert_eq!(body(bad), Err(Doubt::Chunk), "{bad:?}");
    }
    assert_eq!(body("0\r\n\n"), Err(Doubt::Feed));
    assert_eq!(body("ffffffffffffffff\r\n"), Ok(None));
}

/// A message: its bytes, whatever they say.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let field = "[A-Za-z-]{1,12}: [ -~]{0,30}\r\n";
    let fields = proptest::collection::vec(field, 0..5).prop_map(|fields| {
        let plain = |field: &String| !field.to_ascii_lowercase().starts_with("content-length:");
        fields.into_iter().filter(plain).collect::<String>()
    });
    let chunk = proptest::collection::vec(any::<u8>(), 1..40);
    let chunks = proptest::collection::vec((chunk, "(;[a-z]{0,5}=\"[ -!#-~]{0,5}\")?"), 0..4).prop_map(|chunks| {
        let mut body = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
        for (chunk, extension) in chunks {
            body.extend_from_slice(format!("{:x}{extension}\r\n", chunk.len()).as_bytes());
            body.extend_from_slice(&chunk);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\nX-Trailer: x\r\n\r\n");
        body
    });
    let counted = proptest::collection::vec(any::<u8>(), 0..60).prop_map(|body| {
        let mut counted = format!("content-length: {}\r\n\r\n", body.len()).into_bytes();
        counted.extend_from_slice(&body);
        counted
    });
    let rest = prop_oneof![Just(b"\r\n".to_vec()), chunks, counted];
    ("[A-Z]{1,8}", "/[a-z?=&%]{0,20}", fields, rest).prop_map(|(method, path, fields, rest)| {
        let mut message = format!("{method} {path} HTTP/1.1\r\n{fields}").into_bytes();
        message.extend_from_slice(&rest);
        message
    })
}

proptest! {
    #[test]
    fn messages_end_where_they_end_however_the_bytes_are_cut(
        messages in proptest::collection::vec(message(), 1..6),
        cuts in proptest::collection::vec(1usize..50, 1..20),
    ) {
        let bytes = messages.concat();
        let mut bounds = 0;
        let expected: Vec<usize> = messages.iter().map(|message| { bounds += message.len(); bounds }).collect();
        prop_assert_eq!(ends(&bytes), (expected, Ok(())));

        let mut framing = Framing::default();
        let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().expect("it cycles")).min(rest.len()));
            prop_assert_eq!(framing.take(piece), Ok(()));
            rest = after;
        }
        prop_assert!(!framing.in_head() && !framing.in_body());
    }

    #[test]
    fn garbage_is_doubtful_or_not_and_never_a_panic(garbage in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut framing = Framing::default();
        if let Err((passed, _)) = framing.take(&garbage) {
            prop_assert!(passed < garbage.len());
        }
    }
}
