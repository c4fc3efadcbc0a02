//! Patterns of this crate's own.

/// A constant regular expression, compiled when it is first used: `pattern!(NAME, "…")`, where `Regex` is
/// the engine's.
macro_rules! pattern {
    ($name:ident, $pattern:expr) => {
        static $name: std::sync::LazyLock<Regex> = std::sync::LazyLock::new(|| {
            Regex::new($pattern).unwrap_or_else(|error| unreachable!("a constant: {error}"))
        });
    };
}
pub(crate) use pattern;
