//! Many problems in one message.

/// How many records a message spells out.
pub(super) const SHOWN: usize = 20;

/// A line for each of the first ones, and how many of `total` follow.
pub(crate) fn list<T: std::fmt::Display>(shown: &[T], total: usize) -> String {
    let mut text: String = shown
        .iter()
        .take(SHOWN)
        .map(|one| format!("\n  {one}"))
        .collect();
    if total > SHOWN {
        text.push_str(&format!("\n  and {} more", total - SHOWN));
    }
    text
}
