//! The kinds of functions.

use serde_json::{Value, json};

use super::{Kind, Subject};

/// A kind of function. `bench/grid.py` and `bench/fastapi_app.py` have one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Cell {
    /// Returns at once
    Nothing,
    /// Computes for 1 ms
    Cpu,
    /// Awaits for 10 ms
    Await,
    /// Sleeps for 10 ms, and blocks
    Sleep,
    /// Takes 64 KiB
    In,
    /// Gives 64 KiB
    Out,
    /// Takes and gives a pydantic model
    Model,
}

/// A body of this many bytes, with what stands around the text.
const LARGE: usize = 64 * 1024;

impl Cell {
    /// All of them.
    pub const ALL: [Self; 7] = [Self::Nothing, Self::Cpu, Self::Await, Self::Sleep, Self::In, Self::Out, Self::Model];

    /// As a heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Nothing => "No-op",
            Self::Cpu => "1 ms of processor time",
            Self::Await => "10 ms of `await`",
            Self::Sleep => "10 ms of blocking sleep",
            Self::In => "64 KiB in",
            Self::Out => "64 KiB out",
            Self::Model => "A pydantic model of 20 fields, in and out",
        }
    }

    /// Who can have such a function: ours both ways where both make sense, and theirs as it serves it best.
    pub(super) fn subjects(self) -> impl Iterator<Item = Subject> {
        let kinds: &[Kind] = match self {
            Self::Await => &[Kind::Async],
            Self::Sleep => &[Kind::Def],
            _ => &[Kind::Def, Kind::Async],
        };
        kinds.iter().map(|kind| Subject::Flash(*kind)).chain([Subject::FastApi, Subject::Granian])
    }

    /// Where it is.
    pub(super) fn path(self, subject: Subject) -> String {
        let name = match self {
            Self::Nothing => "nothing",
            Self::Cpu => "cpu",
            Self::Await => "await",
            Self::Sleep => "sleep",
            Self::In => "in",
            Self::Out => "out",
            Self::Model => "model",
        };
        let (prefix, kind) = match subject {
            Subject::Flash(kind) => ("/lb/grid", kind),
            Subject::FastApi | Subject::Granian if self == Self::Sleep => ("", Kind::Def),
            Subject::FastApi | Subject::Granian => ("", Kind::Async),
        };
        let kind = match kind {
            Kind::Def => "def",
            Kind::Async => "async",
        };
        format!("{prefix}/{name}/{kind}")
    }

    /// What it is sent.
    pub fn request(self) -> String {
        match self {
            Self::Nothing | Self::Cpu | Self::Await | Self::Sleep | Self::Out => r#"{"x":5,"y":3}"#.into(),
            Self::In => large().to_string(),
            Self::Model => order().to_string(),
        }
    }

    /// What it answers.
    pub fn answer(self) -> Value {
        match self {
            Self::Nothing | Self::Cpu | Self::Await | Self::Sleep => json!({ "result": 8 }),
            Self::In => json!({ "length": LARGE - r#"{"text":""}"#.len() }),
            Self::Out => large(),
            Self::Model => order(),
        }
    }
}

fn large() -> Value {
    json!({ "text": "x".repeat(LARGE - r#"{"text":""}"#.len()) })
}

/// An order as `bench/order.py` has it: what comes back is what went in.
fn order() -> Value {
    json!({
        "id": "6f1cbb1e-7f3c-4c53-9a0e-8d1f1f2b7c55",
        "number": 4711,
        "customer": "Ada Lovelace",
        "email": "ada@example.org",
        "phone": "+44 20 7946 0958",
        "created": "2026-03-01T12:30:00Z",
        "updated": null,
        "currency": "EUR",
        "total": 129.95,
        "tax": 20.75,
        "discount": 5.5,
        "weight": "2.350",
        "items": ["lamp", "desk", "chair"],
        "quantities": [2, 1, 4],
        "tags": ["fragile"],
        "notes": { "door": "blue" },
        "gift": false,
        "express": true,
        "street": "12 St James's Square",
        "city": "London",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_is_as_large_as_the_heading_says() {
        assert_eq!(Cell::In.request().len(), LARGE);
        assert_eq!(Cell::Out.answer().to_string().len(), LARGE);
    }

    #[test]
    fn the_model_has_twenty_fields() {
        assert_eq!(order().as_object().map(serde_json::Map::len), Some(20));
    }

    #[test]
    fn theirs_blocks_only_where_it_must() {
        assert_eq!(Cell::Sleep.path(Subject::FastApi), "/sleep/def");
        assert_eq!(Cell::Cpu.path(Subject::Granian), "/cpu/async");
        assert_eq!(Cell::Cpu.path(Subject::Flash(Kind::Def)), "/lb/grid/cpu/def");
    }
}
