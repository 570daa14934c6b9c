//! The codec keeps what it is given, whatever the pieces, and survives garbage.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flash_wire::{
    CHUNK, Content, Decoder, Error, Frame, HEADER, Kind, MAX_PAYLOAD, Part, PartValue, RequestHead, VERSION, YieldKind, decode_answer,
    decode_chunk, decode_yield, encode, encode_call, encode_chunk, encode_form, encode_request,
};
use proptest::prelude::*;
use serde_json::Value;

fn kind() -> impl Strategy<Value = Kind> {
    proptest::sample::select(Kind::ALL)
}

fn frames() -> impl Strategy<Value = Vec<(Kind, u32, Vec<u8>)>> {
    proptest::collection::vec((kind(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..300)), 0..20)
}

fn part() -> impl Strategy<Value = Part> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let file = (any::<String>(), bytes(), bytes());
    let value = prop_oneof![
        any::<String>().prop_map(PartValue::Text),
        file.prop_map(|(filename, content_type, content)| PartValue::File { filename, content_type, content }),
    ];
    (any::<String>(), value).prop_map(|(name, value)| Part { name, value })
}

/// What a worker makes of a form.
fn decode_form(mut form: Bytes) -> Vec<Part> {
    let mut parts = Vec::new();
    while form.has_remaining() {
        let kind = form.get_u8();
        let lengths = [(); 4].map(|()| form.get_u32_le() as usize);
        let [name, filename, content_type, content] = lengths.map(|length| form.split_to(length));
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("text is UTF-8");
        let value = match kind {
            0 => {
                assert!(filename.is_empty() && content_type.is_empty(), "a text has neither");
                PartValue::Text(text(content))
            }
            1 => PartValue::File { filename: text(filename), content_type, content },
            other => panic!("{other} is no kind of a part"),
        };
        parts.push(Part { name: text(name), value });
    }
    parts
}

fn cases(section: &str) -> Vec<Value> {
    let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cases/requests.json");
    let text = std::fs::read_to_string(table).expect("the table of cases is in the repository");
    let mut table: Value = serde_json::from_str(&text).expect("the table is JSON");
    let Value::Array(cases) = table[section].take() else { panic!("section {section} is a list") };
    assert!(!cases.is_empty(), "section {section} has cases");
    cases
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn latin1(value: &Value) -> Bytes {
    text(value).chars().map(|character| u8::try_from(character).expect("latin-1")).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn drain(decoder: &mut Decoder) -> Result<Vec<Frame>, Error> {
    std::iter::from_fn(|| decoder.next_frame().transpose()).collect()
}

proptest! {
    #[test]
    fn frames_come_back_whole_however_the_bytes_are_cut(frames in frames(), cuts in proptest::collection::vec(1usize..64, 1..40)) {
        let mut bytes = BytesMut::new();
        for (kind, request, payload) in &frames {
            encode(&mut bytes, *kind, *request, payload);
        }
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while bytes.has_remaining() {
            let piece = bytes.split_to((*cuts.next().expect("it cycles")).min(bytes.len()));
            decoder.buffer().put(piece);
            seen.extend(drain(&mut decoder).expect("valid frames"));
        }
        let seen: Vec<_> = seen.into_iter().map(|frame| (frame.kind, frame.request, frame.payload.to_vec())).collect();
        prop_assert_eq!(seen, frames);
    }

    #[test]
    fn garbage_ends_in_an_error_or_in_waiting_and_never_in_a_panic(garbage in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut decoder = Decoder::default();
        decoder.buffer().put_slice(&garbage);
        if let Ok(frames) = drain(&mut decoder) {
            let used: usize = frames.iter().map(|frame| HEADER + frame.payload.len()).sum();
            prop_assert!(used <= garbage.len());
        }
    }

    #[test]
    fn malformed_answers_are_refused_and_never_read_out_of_bounds(payload in proptest::collection::vec(any::<u8>(), 0..64)) {
        let length = payload.len();
        let frame = Frame { kind: Kind::Answer, request: 1, payload: payload.into() };
        match decode_answer(frame) {
            Ok(answer) => prop_assert_eq!(7 + answer.headers.len() + answer.body.len(), length),
            Err(error) => prop_assert_eq!(error, Error::Malformed { kind: Kind::Answer }),
        }
    }

    #[test]
    fn a_body_of_any_size_is_whole_after_its_chunks(size in prop_oneof![0usize..10, CHUNK - 2..CHUNK + 2, CHUNK * 2 - 2..CHUNK * 3]) {
        let body = Bytes::from((0..size).map(|index| (index % 251) as u8).collect::<Vec<_>>());
        let mut bytes = BytesMut::new();
        let mut rest = encode_call(&mut bytes, 7, &body);
        while rest.has_remaining() {
            rest = encode_chunk(&mut bytes, 7, &rest);
        }
        let mut decoder = Decoder::default();
        decoder.buffer().put(bytes);
        let mut whole = Vec::new();
        let frames = drain(&mut decoder).expect("valid frames");
        let count = frames.len();
        for (index, frame) in frames.into_iter().enumerate() {
            prop_assert_eq!(frame.kind, if index == 0 { Kind::Call } else { Kind::Chunk });
            let (more, piece) = decode_chunk(frame).expect("a piece");
            prop_assert_eq!(more, index + 1 < count);
            whole.extend_from_slice(&piece);
        }
        prop_assert_eq!(whole, body.to_vec());
    }

    #[test]
    fn a_form_comes_back_part_for_part(parts in proptest::collection::vec(part(), 0..6)) {
        prop_assert_eq!(decode_form(encode_form(&parts)), parts);
    }
}

#[test]
fn heads_are_written_as_the_shared_table_says() {
    for case in cases("heads") {
        let content = match &case["content"] {
            Value::Null => Content::Untyped,
            Value::String(_) => Content::Typed(latin1(&case["content"])),
            _ => Content::Form,
        };
        let path = case["path"].as_array().expect("a list").iter().map(text).collect();
        let mut bytes = BytesMut::new();
        encode_request(&mut bytes, 1, 2, &RequestHead { path, query: text(&case["query"]), content }, &Bytes::from_static(b"body"));
        let head = &bytes[HEADER + 7..bytes.len() - b"body".len()];
        assert_eq!(hexadecimal(head), text(&case["bytes"]), "{case}");
    }
}

#[test]
fn forms_are_written_as_the_shared_table_says() {
    for case in cases("forms") {
        let parts = case["parts"].as_array().expect("a list").iter().map(|part| {
            let value = match part.get("text") {
                Some(value) => PartValue::Text(text(value)),
                None => PartValue::File {
                    filename: text(&part["filename"]),
                    content_type: latin1(&part["content_type"]),
                    content: text(&part["content"])
                        .as_bytes()
                        .chunks(2)
                        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal"))
                        .collect(),
                },
            };
            Part { name: text(&part["name"]), value }
        });
        assert_eq!(hexadecimal(&encode_form(&parts.collect::<Vec<_>>())), text(&case["bytes"]), "{case}");
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_before_its_payload_comes() {
    let mut decoder = Decoder::default();
    decoder.buffer().put_u32_le(MAX_PAYLOAD as u32 + 1);
    decoder.buffer().put_u8(Kind::Answer as u8);
    decoder.buffer().put_u32_le(0);
    assert_eq!(decoder.next_frame(), Err(Error::TooLong { length: MAX_PAYLOAD + 1 }));
}

#[test]
fn an_unknown_kind_is_refused() {
    let mut decoder = Decoder::default();
    decoder.buffer().put_slice(&[0, 0, 0, 0, 99, 0, 0, 0, 0]);
    assert_eq!(decoder.next_frame(), Err(Error::UnknownKind { code: 99 }));
}

#[test]
fn the_head_of_a_plain_json_request_is_empty() {
    let plain = RequestHead { content: Content::Typed(Bytes::from_static(b"application/json")), ..RequestHead::default() };
    let mut bytes = BytesMut::new();
    encode_request(&mut bytes, 1, 2, &plain, &Bytes::from_static(b"{}"));
    assert_eq!(&bytes[HEADER..], b"\x02\x00\x00\x00\x00\x00\x00{}");
}

/// `docs/wire.md` has one number, in three places: the host's, the worker's and the session's.
#[test]
fn both_languages_speak_one_version() {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/runpod_flash");
    for (file, name) in [("_worker/frames.py", "VERSION"), ("_session.py", "PROTOCOL")] {
        let text = std::fs::read_to_string(package.join(file)).unwrap();
        let said = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        assert_eq!(said, Some(VERSION.to_string().as_str()), "{name} in {file}");
    }
}

#[test]
fn what_is_yielded_is_a_part_or_progress_whole_or_not() {
    let decode = |payload: &'static [u8]| decode_yield(Frame { kind: Kind::Yield, request: 1, payload: Bytes::from_static(payload) });
    let read = |payload| decode(payload).map(|yielded| (yielded.kind, yielded.more, yielded.bytes)).expect("it is well made");
    assert_eq!(read(b"\0part"), (YieldKind::Part, false, Bytes::from("part")));
    assert_eq!(read(b"\x01pa"), (YieldKind::Part, true, Bytes::from("pa")));
    assert_eq!(read(b"\x02"), (YieldKind::Progress, false, Bytes::new()));
    assert_eq!(read(b"\x03x"), (YieldKind::Progress, true, Bytes::from("x")));
    for malformed in [&b""[..], b"\x04", b"\xff1"] {
        assert_eq!(decode(malformed), Err(Error::Malformed { kind: Kind::Yield }));
    }
}
