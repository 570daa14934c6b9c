//! The body of `run` and `runsync`: read without looking into the input, which is passed on as it came.

use bytes::Bytes;
use flash_queue::{Asked, Limits, Policy};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// The priority of what asks for a low one, and for no other.
const LOW: i8 = -50;
/// A webhook's address may have so many bytes.
const LONGEST_URL: usize = 2048;
/// And a function's name.
const LONGEST_NAME: usize = 1024;
/// So much of a value that is refused is shown: a caller need not read megabytes of its own.
const SHOWN: usize = 100;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// The input, as JSON.
    pub(crate) input: Bytes,
    /// Which of the endpoint's functions; nothing where it does not say.
    pub(crate) function: String,
    /// Whom to tell of its end.
    pub(crate) webhook: Option<String>,
    /// How it is run.
    pub(crate) policy: Policy,
}

#[derive(Deserialize)]
struct Body<'body> {
    /// `null` is an input; the outer option tells that from none.
    #[serde(borrow, default, deserialize_with = "present")]
    input: Option<&'body RawValue>,
    #[serde(default)]
    function: Option<serde_json::Value>,
    #[serde(default)]
    webhook: Option<serde_json::Value>,
    #[serde(borrow, default)]
    policy: Option<&'body RawValue>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Those that a policy may have.
const POLICY: [&str; 6] = ["executionTimeout", "ttl", "priority", "lowPriority", "attempts", "delay"];

/// As they were written, by which they are told where they are refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyFields<'body> {
    #[serde(borrow)]
    execution_timeout: Option<&'body RawValue>,
    #[serde(borrow)]
    ttl: Option<&'body RawValue>,
    #[serde(borrow)]
    priority: Option<&'body RawValue>,
    #[serde(borrow)]
    low_priority: Option<&'body RawValue>,
    #[serde(borrow)]
    attempts: Option<&'body RawValue>,
    #[serde(borrow)]
    delay: Option<&'body RawValue>,
}

const INPUT: &str = "the body is a JSON object with an `input`, as {\"input\": {\"texts\": [\"a\", \"b\"]}}";

/// Reads a body. What it does not say of the policy is as `policy` says for the function that it names.
pub(crate) fn read(body: &Bytes, policy: impl FnOnce(&str) -> Result<Policy, Refusal>, limits: &Limits) -> Result<Request, Refusal> {
    if body.is_empty() {
        return Err(Refusal::bad("input", format!("the body is empty: {INPUT}")));
    }
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::bad("body", format!("the body is no JSON object: {INPUT}"))); // a list would be read as fields in their order
    }
    let read: Body<'_> = serde_json::from_slice(body).map_err(|error| Refusal::bad("body", format!("{error}: {INPUT}")))?;
    let Some(input) = read.input else { return Err(Refusal::bad("input", format!("`input` is missing: {INPUT}"))) };
    let webhook = text("webhook", read.webhook)?;
    check_webhook(&webhook)?;
    let function = text("function", read.function)?;
    if function.len() > LONGEST_NAME {
        return Err(Refusal::bad("function", format!("`function` has {} bytes; at most {LONGEST_NAME} are allowed", function.len())));
    }
    let policy = policy(&function)?;
    let policy = match read.policy {
        Some(asked) => limits.apply(&policy, &asked_of(asked, limits)?).map_err(|breaches| {
            let texts: Vec<String> = breaches.iter().map(ToString::to_string).collect();
            Refusal::bad(policy_field(breaches.first().map_or("", |breach| breach.field)), texts.join("; "))
        })?,
        None => policy,
    };
    let input = body.slice_ref(input.get().as_bytes());
    // An empty address is none: forms send it where nothing was filled in.
    let webhook = Some(webhook).filter(|url| !url.is_empty());
    let policy = if policy.low_priority && policy.priority == 0 { Policy { priority: LOW, ..policy } } else { policy };
    Ok(Request { input, function, webhook, policy })
}

/// A string; none is an empty one.
fn text(field: &'static str, value: Option<serde_json::Value>) -> Result<String, Refusal> {
    match value {
        None | Some(serde_json::Value::Null) => Ok(String::new()),
        Some(serde_json::Value::String(text)) => Ok(text),
        Some(other) => Err(Refusal::bad(field, format!("`{field}` is {}; it is a string", shown(&other)))),
    }
}

/// A value, or its begin.
fn shown(value: &serde_json::Value) -> String {
    begin(&value.to_string())
}

/// A text, or its begin.
fn begin(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn asked_of(raw: &RawValue, limits: &Limits) -> Result<Asked, Refusal> {
    let object = "`policy` is an object, as {\"executionTimeout\": 60000, \"ttl\": 3600000}, in milliseconds";
    let text = raw.get();
    if text == "null" {
        return Ok(Asked::default());
    }
    let fields: PolicyFields<'_> = match serde_json::from_str(text) {
        _ if !text.starts_with('{') => return Err(Refusal::bad("policy", object)),
        Ok(fields) => fields,
        Err(error) => return Err(Refusal::bad("policy", format!("`policy` cannot be read: {error}: {object}"))),
    };
    check_policy_fields(text)?;
    let (priority, attempts) = (limits.priority, limits.attempts);
    Ok(Asked {
        execution_timeout_ms: integer("executionTimeout", "milliseconds", fields.execution_timeout, limits.execution_timeout_ms)?,
        ttl_ms: integer("ttl", "milliseconds", fields.ttl, limits.ttl_ms)?,
        priority: integer("priority", "larger is sooner", fields.priority, (priority.0.into(), priority.1.into()))?,
        low_priority: match fields.low_priority.map(RawValue::get) {
            None | Some("null") => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => {
                let what = format!("`policy.lowPriority` is {}; it is true or false", begin(other));
                return Err(Refusal::bad("policy.lowPriority", what));
            }
        },
        attempts: integer("attempts", "in all", fields.attempts, (attempts.0.into(), attempts.1.into()))?,
        delay_ms: integer("delay", "milliseconds", fields.delay, limits.delay_ms)?,
    })
}

/// One that is misspelled would leave a job without the limit that it was to have.
fn check_policy_fields(text: &str) -> Result<(), Refusal> {
    let named: std::collections::BTreeMap<String, serde::de::IgnoredAny> = serde_json::from_str(text).unwrap_or_default();
    let Some(unknown) = named.keys().find(|name| !POLICY.contains(&name.as_str())) else { return Ok(()) };
    let remedy = match flash_manifest::nearest(unknown, POLICY) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("those that there are: {}", POLICY.join(", ")),
    };
    let name: String = unknown.chars().take(SHOWN).collect();
    Err(Refusal::bad("policy", format!("`policy` has no field `{name}`; {remedy}")))
}

fn integer(field: &'static str, what: &str, value: Option<&RawValue>, (least, most): (i64, i64)) -> Result<Option<i64>, Refusal> {
    let Some(text) = value.map(RawValue::get).filter(|text| *text != "null") else { return Ok(None) };
    let refused = |rest: String| Err(Refusal::bad(policy_field(field), format!("`policy.{field}` is {}; it is {rest}", begin(text))));
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    if let Ok(number) = text.parse() {
        return Ok(Some(number));
    }
    // A client in JavaScript may send 60000.0. What floats cannot count is larger than what may be.
    match text.parse::<f64>().ok().filter(|_| is_number) {
        Some(number) if number.abs() >= 2_f64.powi(53) => refused(format!("from {least} to {most}")),
        Some(number) if number.fract() == 0.0 => Ok(Some(number as i64)),
        _ => refused(format!("an integer ({what})")),
    }
}

fn policy_field(field: &str) -> &'static str {
    match field {
        "executionTimeout" => "policy.executionTimeout",
        "ttl" => "policy.ttl",
        "priority" => "policy.priority",
        "attempts" => "policy.attempts",
        "delay" => "policy.delay",
        _ => "policy",
    }
}

/// What can be told of an address without looking it up.
fn check_webhook(url: &str) -> Result<(), Refusal> {
    if url.is_empty() {
        return Ok(());
    }
    if url.len() > LONGEST_URL {
        return Err(Refusal::bad("webhook", format!("`webhook` has {} bytes; at most {LONGEST_URL} are allowed", url.len())));
    }
    let uri: http::Uri = url.parse().map_err(|_| Refusal::bad("webhook", format!("`webhook` is no URL: `{url}`")))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(()),
        _ => Err(Refusal::bad("webhook", format!("`webhook` is an http:// or https:// URL, and not `{url}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(body: &str) -> Result<Request, (String, &'static str)> {
        read(&Bytes::copy_from_slice(body.as_bytes()), |_| Ok(Policy::default()), &Limits::default()).map_err(|refusal| match refusal {
            Refusal::Bad { what, field } => (what, field),
            other => panic!("{other}"),
        })
    }

    #[test]
    fn the_input_is_passed_on_as_it_came() {
        for (body, input) in [
            (r#"{"input": {"b": 1.50, "a": [ "é" ]}}"#, r#"{"b": 1.50, "a": [ "é" ]}"#),
            (r#"{"webhook": "", "input": null}"#, "null"),
            (r#"{"input": 12345678901234567890123, "s3Config": {"accessId": 1}}"#, "12345678901234567890123"),
            (r#"{"input": {}, "policy": null}"#, "{}"),
        ] {
            let request = read_text(body).unwrap();
            assert_eq!((request.input, request.webhook, request.policy), (Bytes::from(input), None, Policy::default()), "{body}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        for (body, field, text) in [
            ("", "input", "the body is empty: the body is a JSON object with an `input`"),
            ("{}", "input", "`input` is missing"),
            (r#"{"Input": 1}"#, "input", "`input` is missing"),
            ("[1]", "body", "the body is no JSON object"),
            ("{]", "body", "key must be a string"),
            (r#"{"input": 1, "policy": [5000]}"#, "policy", "`policy` is an object"),
            (r#"{"input": 1"#, "body", "EOF while parsing an object"),
            (r#"{"input": 1, "input": 2}"#, "body", "duplicate field `input`"),
            (r#"{"input": 1, "policy": 5}"#, "policy", "`policy` is an object"),
            (r#"{"input": 1, "policy": {"ttl": 1}}"#, "policy.ttl", "`policy.ttl` is 1; it is from 1000 to 604800000"),
            (r#"{"input": 1, "policy": {"ttl": "5"}}"#, "policy.ttl", "`policy.ttl` is \"5\"; it is an integer (milliseconds)"),
            (r#"{"input": 1, "policy": {"lowPriority": 1}}"#, "policy.lowPriority", "`policy.lowPriority` is 1; it is true or false"),
            (r#"{"input": 1, "policy": {"executionTimeout": 5.5}}"#, "policy.executionTimeout", "`policy.executionTimeout` is 5.5"),
            (r#"{"input": 1, "webhook": "ftp://a/b"}"#, "webhook", "`webhook` is an http:// or https:// URL"),
            (r#"{"input": 1, "webhook": "/done"}"#, "webhook", "`webhook` is an http:// or https:// URL"),
            (r#"{"input": 1, "webhook": 7}"#, "webhook", "`webhook` is 7; it is a string"),
            (r#"{"input": 1, "function": ["embed"]}"#, "function", "`function` is [\"embed\"]; it is a string"),
            (
                r#"{"input": 1, "policy": {"executionTimeout": 18446744073709551616}}"#,
                "policy.executionTimeout",
                "`policy.executionTimeout` is 18446744073709551616; it is from 1000 to 604800000",
            ),
            (r#"{"input": 1, "policy": {"delay": -1e300}}"#, "policy.delay", "`policy.delay` is -1e300; it is from 0 to 604800000"),
            (r#"{"input": 1, "policy": {"ttl": 1e999}}"#, "policy.ttl", "`policy.ttl` is 1e999; it is from 1000 to 604800000"),
            (r#"{"input": 1, "policy": {"ttl": "inf"}}"#, "policy.ttl", "`policy.ttl` is \"inf\"; it is an integer (milliseconds)"),
            (
                r#"{"input": 1, "policy": {"executionTimout": 5000}}"#,
                "policy",
                "`policy` has no field `executionTimout`; did you mean `executionTimeout`?",
            ),
            (
                r#"{"input": 1, "policy": {"timeToLive": 5000}}"#,
                "policy",
                "`policy` has no field `timeToLive`; those that there are: executionTimeout, ttl, priority, lowPriority, attempts, delay",
            ),
            (r#"{"input": 1, "policy": {"ttl": 1, "ttl": 2}}"#, "policy", "`policy` cannot be read: duplicate field `ttl`"),
        ] {
            let (what, found) = read_text(body).unwrap_err();
            assert!(what.starts_with(text), "{body}: {what}");
            assert_eq!(found, field, "{body}");
        }
        let long = "ü".repeat(3000);
        for (rest, field) in [
            (format!(r#""webhook": "http://a/{long}""#), "webhook"),
            (format!(r#""webhook": ["{long}"]"#), "webhook"),
            (format!(r#""function": "{long}""#), "function"),
            (format!(r#""policy": {{"ttl": "{long}"}}"#), "policy.ttl"),
            (format!(r#""policy": {{"{long}": 1}}"#), "policy"),
            (format!(r#""policy": {{"lowPriority": "{long}"}}"#), "policy.lowPriority"),
        ] {
            let (what, found) = read_text(&format!(r#"{{"input": 1, {rest}}}"#)).unwrap_err();
            assert_eq!(found, field);
            assert!(what.len() < 400, "{what}");
        }
    }

    #[test]
    fn what_has_a_low_priority_comes_after_the_others_unless_it_says_more() {
        for (policy, priority) in [(r#"{"lowPriority": true}"#, LOW), (r#"{"lowPriority": true, "priority": 7}"#, 7), ("{}", 0)] {
            assert_eq!(read_text(&format!(r#"{{"input": 1, "policy": {policy}}}"#)).unwrap().policy.priority, priority, "{policy}");
        }
    }

    #[test]
    fn the_policy_is_what_was_asked_for() {
        let request = read_text(
            r#"{"input": 1, "function": "embed", "webhook": "https://example.org/done",
            "policy": {"executionTimeout": 5000.0, "ttl": 60000, "lowPriority": true, "priority": -3, "attempts": 1, "delay": null}}"#,
        )
        .unwrap();
        let second = std::time::Duration::from_secs(1);
        let expected =
            Policy { execution_timeout: 5 * second, ttl: 60 * second, priority: -3, low_priority: true, attempts: 1, ..Policy::default() };
        assert_eq!(request.policy, expected);
        assert_eq!((&*request.function, request.webhook.as_deref()), ("embed", Some("https://example.org/done")));
    }
}
