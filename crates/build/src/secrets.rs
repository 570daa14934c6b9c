//! Files that hold secrets more often than not. They are never packed: an artifact is kept, copied, and read by whoever may deploy.

/// Whole names, in small letters.
const NAMES: [&str; 22] = [
    ".dockercfg",
    ".git-credentials",
    ".htpasswd",
    ".my.cnf",
    ".netrc",
    ".npmrc",
    ".pgpass",
    ".pypirc",
    ".s3cfg",
    "_netrc",
    "credentials",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    "id_rsa",
    "kubeconfig",
    "secrets.env",
    "secrets.json",
    "secrets.toml",
    "secrets.yaml",
    "secrets.yml",
    "token.json",
];

/// Endings of keys and of stores of keys.
const ENDINGS: [&str; 9] = ["jks", "kdbx", "key", "keystore", "p12", "p8", "pem", "pfx", "ppk"];

/// Beginnings of JSON files with the keys of accounts.
const ACCOUNTS: [&str; 5] = ["client_secret", "credentials", "service-account", "service_account", "serviceaccount"];

/// Of the `.env` files, those that are written to be read by others.
const EXAMPLES: [&str; 5] = ["dist", "example", "sample", "template", "tmpl"];

/// Whether a file of this name is taken for a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if NAMES.contains(&&*name) || name == ".env" {
        return true;
    }
    if let Some(kind) = name.strip_prefix(".env.") {
        return !EXAMPLES.contains(&kind);
    }
    match name.rsplit_once('.') {
        Some((stem, "json")) => ACCOUNTS.iter().any(|beginning| stem.starts_with(beginning)),
        Some((stem, "env")) => !stem.is_empty() && !EXAMPLES.iter().any(|kind| stem.ends_with(kind)),
        Some((_, ending)) => ENDINGS.contains(&ending),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn secrets_are_told_by_their_names() {
        for name in [
            ".env",
            ".env.local",
            ".ENV.production",
            "prod.env",
            "server.pem",
            "Server.KEY",
            "id_rsa",
            ".netrc",
            ".pypirc",
            "credentials.json",
            "credentials-prod.json",
            "client_secret_1.json",
            "service-account.json",
            "keys.p12",
            "secrets.toml",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            ".env.example",
            ".env.template",
            "env",
            "environment.py",
            "credentials.py",
            "id_rsa.pub",
            "key",
            "keys.json",
            "monkey.txt",
            "secrets.py",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
