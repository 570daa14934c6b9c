//! Names that become part of a URL.

use std::fmt;
use std::str::FromStr;

use crate::Diagnostic;
use crate::text::{named, shown};

/// The longest label of a host's name: an endpoint may be addressed as `{name}.<domain>`.
const LONGEST: usize = 63;

/// The name of an endpoint, which can stand in a URL as it is: `/lb/{name}`, or `{name}.<domain>`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointName(String);

/// The name of an app, under the same rules: where two apps share a server, it becomes a part of an endpoint's URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppName(String);

/// The name of an environment of an app, under the same rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EnvironmentName(String);

impl EndpointName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AppName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A legal name as near to `text` as can be, for an app that nobody named: its folder's name, say.
    pub fn like(text: &str) -> Self {
        Self(like(text).unwrap_or_else(|| "app".into()))
    }
}

impl EnvironmentName {
    /// The one that is deployed to where none is named.
    pub fn production() -> Self {
        Self("production".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for EndpointName {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        check("endpoint", text).map(Self)
    }
}

impl FromStr for AppName {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        check("app", text).map(Self)
    }
}

impl FromStr for EnvironmentName {
    type Err = Diagnostic;

    fn from_str(text: &str) -> Result<Self, Diagnostic> {
        if text == "live" {
            return Err(Diagnostic::error(
                "environment name 'live' is taken",
                "FLASH_TARGET=live sends calls to the script's own server, and FLASH_TARGET=<environment> to a deployment",
                "choose another name",
            ));
        }
        check("environment", text).map(Self)
    }
}

impl fmt::Display for EnvironmentName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for AppName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Checks a name in the order that `tests/cases/README.md` gives.
fn check(of: &str, text: &str) -> Result<String, Diagnostic> {
    if text.is_empty() {
        return Err(Diagnostic::error(
            format!("{of} name is empty"),
            format!("the name is the {of}'s address"),
            match of {
                "endpoint" => "name it, as in name='my-api'".to_owned(),
                of => format!("name the {of}, as in my-{of}"),
            },
        ));
    }
    let wrong =
        |problem: String, why: &str, remedy: String| Err(Diagnostic::error(format!("{of} name '{}' {problem}", shown(text)), why, remedy));
    let suggestion = || match (of, like(text)) {
        ("endpoint", near) => format!("name='{}'", near.as_deref().unwrap_or("my-api")),
        (of, near) => format!("call it '{}'", near.unwrap_or_else(|| format!("my-{of}"))),
    };
    if let Some(character) = text.chars().find(|character| !is_legal(*character)) {
        return wrong(
            format!("has the character {}", named(character)),
            "the name is part of the endpoint's URL: letters, digits, '-', '_' and '.' can stand there",
            suggestion(),
        );
    }
    if !text.starts_with(is_outer) || !text.ends_with(is_outer) {
        return wrong(
            "must begin and end with a letter or a digit".into(),
            "the name is part of the endpoint's URL, and may be a host's name",
            suggestion(),
        );
    }
    if text.len() > LONGEST {
        return wrong(
            format!("has {} characters, more than {LONGEST}", text.len()),
            "the name may be a label of a host's name, which is no longer than that",
            "use a shorter name".into(),
        );
    }
    Ok(text.into())
}

fn is_legal(character: char) -> bool {
    is_outer(character) || "-_.".contains(character)
}

fn is_outer(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

fn like(text: &str) -> Option<String> {
    let legal: String = text.chars().map(|character| if is_legal(character) { character } else { '-' }).collect();
    let begun = legal.trim_start_matches(|character| !is_outer(character));
    let short = &begun[..begun.len().min(LONGEST)];
    let ended = short.trim_end_matches(|character| !is_outer(character));
    (!ended.is_empty()).then(|| ended.into())
}

#[cfg(test)]
mod tests {
    use super::{AppName, EnvironmentName};

    #[test]
    fn an_environment_has_a_name_that_says_nothing_else() {
        let refused = |name: &str| name.parse::<EnvironmentName>().expect_err(name).what;
        assert_eq!("staging-2".parse::<EnvironmentName>().expect("a good name").as_str(), "staging-2");
        assert_eq!("production".parse(), Ok(EnvironmentName::production()));
        assert_eq!(refused("live"), "environment name 'live' is taken");
        assert_eq!(refused("a/b"), "environment name 'a/b' has the character '/'");
        assert_eq!(refused(""), "environment name is empty");
    }

    #[test]
    fn any_folder_gives_a_legal_app_name() {
        for (folder, expected) in [("my app", "my-app"), ("_x_", "x"), ("日本", "app"), ("", "app"), ("a.b", "a.b")] {
            let name = AppName::like(folder);
            assert_eq!(name.as_str(), expected);
            assert_eq!(name.as_str().parse(), Ok(name));
        }
        let long = AppName::like(&format!("{}-{}", "a".repeat(62), "b".repeat(9)));
        assert_eq!(long.as_str(), "a".repeat(62));
    }
}
