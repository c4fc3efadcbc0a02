//! Stop strings in streamed text.

/// Watches streamed text for strings that end it, and holds back what may be the beginning of one.
///
/// ```
/// use llm_data::StopStrings;
///
/// let mut stop = StopStrings::new(["</s>"]);
/// assert_eq!(stop.push("Hello <"), ("Hello ".to_owned(), false));
/// assert_eq!(stop.push("/s> and more"), (String::new(), true));
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopStrings {
    strings: Vec<String>,
    held: String,
}

impl StopStrings {
    /// Watches for `strings`; empty ones are left out.
    pub fn new<S: Into<String>>(strings: impl IntoIterator<Item = S>) -> Self {
        let strings = strings.into_iter().map(Into::into);
        Self {
            strings: strings
                .filter(|string: &String| !string.is_empty())
                .collect(),
            held: String::new(),
        }
    }

    /// Takes the next piece of text: what can be shown now, and whether the text has ended. The stop
    /// string and what follows it are not shown.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        self.held.push_str(text);
        let first = self
            .strings
            .iter()
            .filter_map(|string| self.held.find(string))
            .min();
        if let Some(end) = first {
            let shown = self.held[..end].to_owned();
            self.held.clear();
            return (shown, true);
        }
        let safe = self.held.len() - self.possible_beginning();
        (self.held.drain(..safe).collect(), false)
    }

    /// What was held back, when no more text comes.
    pub fn finish(self) -> String {
        self.held
    }

    /// Bytes at the end of what is held that may begin a stop string.
    fn possible_beginning(&self) -> usize {
        let longest = |string: &String| {
            let lengths = string.char_indices().map(|(at, _)| at).skip(1);
            lengths
                .filter(|length| self.held.ends_with(&string[..*length]))
                .max()
        };
        self.strings.iter().filter_map(longest).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything shown when the pieces come in, and whether the text ended.
    fn stream(strings: &[&str], pieces: &[&str]) -> (String, bool) {
        let mut stop = StopStrings::new(strings.iter().copied());
        let mut shown = String::new();
        for piece in pieces {
            let (text, ended) = stop.push(piece);
            shown.push_str(&text);
            if ended {
                return (shown, true);
            }
        }
        (shown + &stop.finish(), false)
    }

    #[test]
    fn ends_wherever_the_pieces_are_cut() {
        let text = "a<b</s>c";
        for cut in 0..=text.len() {
            for second in cut..=text.len() {
                let pieces = [&text[..cut], &text[cut..second], &text[second..]];
                assert_eq!(
                    stream(&["</s>"], &pieces),
                    ("a<b".to_owned(), true),
                    "{pieces:?}"
                );
            }
        }
    }

    #[test]
    fn loses_nothing_without_a_stop() {
        assert_eq!(
            stream(&["</s>", "问答"], &["<", "/s", "问"]),
            ("</s问".to_owned(), false)
        );
        assert_eq!(stream(&[], &["ab", "c"]), ("abc".to_owned(), false));
        assert_eq!(stream(&[""], &["abc"]), ("abc".to_owned(), false));
    }

    #[test]
    fn the_earliest_of_several_ends_the_text() {
        assert_eq!(stream(&["xyz", "b"], &["abxyz"]), ("a".to_owned(), true));
        assert_eq!(stream(&["aab"], &["aaa", "b"]), ("a".to_owned(), true));
    }
}
