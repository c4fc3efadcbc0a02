//! Keeping secrets out of whatever is shown.

use secrecy::{ExposeSecret, SecretString};
use ureq::http::Uri;

/// Takes the key, and what the address's query might hide, out of messages.
pub(crate) struct Redactor(Vec<SecretString>);

const REDACTED: &str = "[redacted]";

/// Parts of a parameter's name that say that its value is a secret.
const SECRET_NAMES: &[&str] = &[
    "key",
    "code",
    "token",
    "secret",
    "sig",
    "password",
    "passwd",
    "pwd",
    "auth",
    "credential",
];

/// Parameters that are known to be harmless; the values of others are not shown.
const HARMLESS_NAMES: &[&str] = &[
    "api-version",
    "api_version",
    "version",
    "deployment",
    "model",
];

impl Redactor {
    pub(crate) fn new(url: &Uri, api_key: Option<&SecretString>) -> Self {
        let hidden = parameters(url).filter(|(name, _)| !HARMLESS_NAMES.contains(name));
        let mut secrets: Vec<&str> = hidden.map(|(name, value)| value.unwrap_or(name)).collect();
        secrets.extend(api_key.map(ExposeSecret::expose_secret));
        secrets.retain(|secret| !secret.is_empty());
        let escaped: Vec<String> = secrets.iter().map(|secret| json_escaped(secret)).collect();
        secrets.extend(escaped.iter().map(String::as_str));
        // A secret that contains another one goes first, so that no part of it stays.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        Self(secrets.into_iter().map(SecretString::from).collect())
    }

    /// `text` without the secrets and in one line, cut after 300 characters.
    pub(crate) fn message(&self, text: &str) -> String {
        const SHOWN: usize = 300;
        // Redacted first: a secret that is cut would not be found.
        let text = self.0.iter().fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose_secret(), REDACTED)
        });
        let mut characters = text.chars().map(|c| if c.is_control() { ' ' } else { c });
        let mut shown: String = characters.by_ref().take(SHOWN).collect();
        if characters.next().is_some() {
            shown.push('…');
        }
        shown
    }
}

/// Whether an address has a user name, or a parameter that is a key by its name.
pub(crate) fn holds_secret(url: &Uri) -> bool {
    let user = url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    let secret = |(name, _): (&str, _)| {
        let name = name.to_lowercase();
        SECRET_NAMES.iter().any(|part| name.contains(part))
    };
    user || parameters(url).any(secret)
}

/// The address with the values of unknown parameters left out.
pub(crate) fn shown_url(url: &Uri) -> String {
    let host = url
        .authority()
        .map(|authority| authority.as_str())
        .unwrap_or_default();
    let scheme = url.scheme_str().unwrap_or_default();
    let mut shown = format!("{scheme}://{host}{}", url.path());
    for (index, (name, value)) in parameters(url).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        shown.push_str(&match value {
            Some(value) if HARMLESS_NAMES.contains(&name) => format!("{name}={value}"),
            Some(_) => format!("{name}={REDACTED}"),
            None => REDACTED.to_owned(),
        });
    }
    shown
}

/// The query's names and values.
fn parameters(url: &Uri) -> impl Iterator<Item = (&str, Option<&str>)> {
    let query = url.query().into_iter().flat_map(|query| query.split('&'));
    query.map(|pair| match pair.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (pair, None),
    })
}

/// The secret as it stands in JSON, without quotes.
fn json_escaped(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
