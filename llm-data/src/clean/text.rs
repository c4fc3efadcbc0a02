//! Rules on single texts: repeated digits, wrong lists, control characters, length, language.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};
use whatlang::{Info, Lang};

use crate::error::{Error, Result};
use crate::record::{Conversation, Role};
use crate::words::for_each_word;

use super::verdict::{Found, Verdict, beginning, excerpt};

/// Drops a conversation for what `find` finds in a message.
pub(super) fn reject(
    conversation: &Conversation,
    reason: &'static str,
    find: impl Fn(&str) -> Option<Range<usize>>,
) -> Verdict {
    for message in &conversation.messages {
        if let Some(place) = find(&message.content) {
            return Err(Found::at(reason, &message.content, place));
        }
    }
    Ok(Vec::new())
}

/// A digit `run` times on end: FastChat's `(\d)\1{8}` for 9.
pub(super) fn repeated_digit(text: &str, run: usize) -> Option<Range<usize>> {
    // None only if the pattern were wrong, which a test excludes. `〇` is a number and no digit.
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A\p{Nd}").ok());
    let digit = DIGIT.as_ref()?;
    let (mut last, mut start, mut length) = ('\0', 0, 0);
    for (place, character) in text.char_indices() {
        if character != last {
            (last, start, length) = (character, place, 0);
        }
        length += 1;
        if length >= run && digit.is_match(&text[place..]) {
            return Some(start..place + character.len_utf8());
        }
    }
    None
}

/// A list whose second item is 1 again: FastChat's `\n1\. [^2]*\n1\. `.
pub(super) fn wrong_list(text: &str) -> Option<Range<usize>> {
    static LIST: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\n1\. [^2]*\n1\. ").ok());
    let found = LIST.as_ref()?.find(text)?;
    Some(found.range())
}

/// Removes what no text needs: control characters but tab and line feed, byte-order marks, bidi
/// overrides, noncharacters. A carriage return with or without a line feed is a line feed.
pub(super) fn strip_controls(conversation: &mut Conversation) -> Verdict {
    let mut changes = Vec::new();
    for message in &mut conversation.messages {
        let text = &message.content;
        if let Some(place) = text.find(|character| character == '\r' || is_control(character)) {
            let shown = excerpt(text, place..place).escape_debug().to_string();
            changes.push(Found::new("control_character", shown));
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            message.content = text.replace(is_control, "");
        }
    }
    Ok(changes)
}

fn is_control(character: char) -> bool {
    (character.is_control() && !matches!(character, '\t' | '\n' | '\r'))
        || matches!(character, '\u{FEFF}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
            | '\u{FDD0}'..='\u{FDEF}')
        || u32::from(character) & 0xFFFE == 0xFFFE
}

/// Options of [`Step::Length`](super::Step): bounds of a conversation, each included. The system
/// text does not count. Default none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Length {
    /// Characters in all messages, at least.
    pub min_characters: Option<usize>,
    /// And at most.
    pub max_characters: Option<usize>,
    /// Words in all messages, at least; a Chinese or Japanese character is a word.
    pub min_words: Option<usize>,
    /// And at most.
    pub max_words: Option<usize>,
    /// The assistant's messages, at least.
    pub min_turns: Option<usize>,
    /// And at most.
    pub max_turns: Option<usize>,
}

impl Length {
    /// Refuses bounds that no conversation keeps.
    pub(super) fn validate(&self) -> Result<()> {
        let bounds = [
            ("max_characters", self.min_characters, self.max_characters),
            ("max_words", self.min_words, self.max_words),
            ("max_turns", self.min_turns, self.max_turns),
        ];
        for (field, least, most) in bounds {
            if let Some(most) = most.filter(|most| least.is_some_and(|least| least > *most)) {
                return Err(Error::option(field, "no less than the minimum", most));
            }
        }
        Ok(())
    }

    pub(super) fn check(&self, conversation: &Conversation) -> Verdict {
        let spoken = || {
            let messages = conversation.messages.iter();
            messages.filter(|message| message.role != Role::System)
        };
        let first = spoken().next();
        let drop = |reason| {
            let text = first.map(|message| message.content.as_str());
            Err(Found::new(reason, beginning(text.unwrap_or_default())))
        };
        let low = |count: usize, least: Option<usize>| least.is_some_and(|least| count < least);
        let high = |count: usize, most: Option<usize>| most.is_some_and(|most| count > most);

        let answers = spoken().filter(|message| message.role == Role::Assistant);
        let turns = answers.count();
        if low(turns, self.min_turns) {
            return drop("too_few_turns");
        }
        if high(turns, self.max_turns) {
            return drop("too_many_turns");
        }
        let characters = spoken()
            .map(|message| message.content.chars().count())
            .sum();
        if low(characters, self.min_characters) {
            return drop("too_few_characters");
        }
        if high(characters, self.max_characters) {
            return drop("too_many_characters");
        }
        if self.min_words.is_none() && self.max_words.is_none() {
            return Ok(Vec::new());
        }
        let mut words = 0;
        for message in spoken() {
            for_each_word(&message.content, |_| words += 1);
        }
        if low(words, self.min_words) {
            return drop("too_few_words");
        }
        if high(words, self.max_words) {
            return drop("too_many_words");
        }
        Ok(Vec::new())
    }
}

/// Options of [`Step::Language`](super::Step): languages by their ISO 639-3 code, such as `eng` and
/// `cmn`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Language {
    /// The languages that stay; none of them for all.
    pub keep: Vec<String>,
    /// The languages that go.
    pub skip: Vec<String>,
    /// A language that is less sure is unknown, 0 to 1. Default 0.
    pub min_confidence: f64,
    /// Whether a conversation in an unknown language goes. FastChat's does with `keep`. Default
    /// false.
    pub drop_unknown: bool,
}

/// Characters of a conversation that the language is told by.
const SAMPLE: usize = 20_000;

/// The beginning of the texts, at most so many characters of it, a line end behind each; and its
/// language, none where no script tells it.
pub(crate) fn language<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    characters: usize,
) -> (String, Option<Info>) {
    let texts = texts.into_iter().map(|text| text.chars().chain(['\n']));
    let text: String = texts.flatten().take(characters).collect();
    let info = whatlang::detect(&text);
    (text, info)
}

/// [`Language`], checked.
pub(super) struct LanguageFilter {
    keep: Vec<Lang>,
    skip: Vec<Lang>,
    min_confidence: f64,
    drop_unknown: bool,
}

impl LanguageFilter {
    pub(super) fn new(options: &Language) -> Result<Self> {
        let codes = |field, codes: &[String]| -> Result<Vec<Lang>> {
            let codes = codes.iter().map(|code| {
                let expected = "ISO 639-3 codes that whatlang knows, such as `eng` or `cmn`";
                Lang::from_code(code.as_str()).ok_or_else(|| Error::option(field, expected, code))
            });
            codes.collect()
        };
        if !(0.0..=1.0).contains(&options.min_confidence) {
            let got = options.min_confidence;
            return Err(Error::option("min_confidence", "0 to 1", got));
        }
        Ok(Self {
            keep: codes("keep", &options.keep)?,
            skip: codes("skip", &options.skip)?,
            min_confidence: options.min_confidence,
            drop_unknown: options.drop_unknown,
        })
    }

    pub(super) fn check(&self, conversation: &Conversation) -> Verdict {
        let messages = conversation.messages.iter();
        let (text, found) = language(messages.map(|message| &*message.content), SAMPLE);
        let language = found
            .filter(|info| info.confidence() >= self.min_confidence)
            .map(|info| info.lang());
        let reason = match language {
            None if self.drop_unknown => "unknown",
            Some(language) if self.skip.contains(&language) => language.code(),
            Some(language) if !self.keep.is_empty() && !self.keep.contains(&language) => {
                language.code()
            }
            _ => return Ok(Vec::new()),
        };
        Err(Found::new(reason, beginning(&text)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::record::Message;

    fn pair(question: &str, answer: &str) -> Conversation {
        let mut conversation = Conversation::default();
        conversation
            .messages
            .push(Message::new(Role::User, question));
        conversation
            .messages
            .push(Message::new(Role::Assistant, answer));
        conversation
    }

    #[test]
    fn digits_and_lists_as_fastchat_finds_them() {
        assert_eq!(repeated_digit("a 000000000", 9), Some(2..11));
        assert_eq!(repeated_digit("11111111222222223", 9), None);
        assert_eq!(repeated_digit("---------", 9), None);
        assert!(wrong_list("list:\n1. a\n1. b").is_some());
        assert!(wrong_list("list:\n1. a\n2. b\n\n1. c").is_none());
        assert!(wrong_list("1. a\n1. b").is_none());
    }

    #[test]
    fn control_characters_go_and_line_ends_are_one() {
        let mut conversation = pair(
            "a\u{0}b\r\nc\rd\te",
            "\u{FEFF}x\u{202E}y\u{FFFF} 👩\u{200D}🔬",
        );
        assert_eq!(strip_controls(&mut conversation).unwrap().len(), 2);
        assert_eq!(conversation, pair("ab\nc\nd\te", "xy 👩\u{200D}🔬"));
        assert_eq!(strip_controls(&mut conversation), Ok(Vec::new()));
    }

    #[test]
    fn lengths_are_bounds_included() {
        let check = |length: Length| {
            let verdict = length.check(&pair("今天 good", "ok"));
            verdict.err().map(|found| found.reason)
        };
        let words = |min_words, max_words| Length {
            min_words: Some(min_words),
            max_words: Some(max_words),
            ..Length::default()
        };
        assert_eq!(check(words(4, 4)), None);
        assert_eq!(check(words(5, 9)), Some("too_few_words"));
        assert_eq!(check(words(0, 3)), Some("too_many_words"));
        let characters = |min, max| Length {
            min_characters: Some(min),
            max_characters: Some(max),
            ..Length::default()
        };
        assert_eq!(check(characters(9, 9)), None);
        assert_eq!(check(characters(10, 99)), Some("too_few_characters"));
        assert_eq!(check(characters(0, 8)), Some("too_many_characters"));
        let turns = |min, max| Length {
            min_turns: Some(min),
            max_turns: Some(max),
            ..Length::default()
        };
        assert_eq!(check(turns(1, 1)), None);
        assert_eq!(check(turns(2, 9)), Some("too_few_turns"));
        assert_eq!(check(turns(0, 0)), Some("too_many_turns"));
    }

    #[test]
    fn languages_are_kept_or_skipped_by_code() {
        let filter = |keep: &[&str], skip: &[&str]| {
            let names = |codes: &[&str]| codes.iter().map(|code| (*code).to_owned()).collect();
            LanguageFilter::new(&Language {
                keep: names(keep),
                skip: names(skip),
                ..Language::default()
            })
        };
        let english = pair(
            "What is the weather like today in the north of the country?",
            "It is raining and it will be raining tomorrow.",
        );
        let chinese = pair("今天北方的天气怎么样？", "正在下雨，明天也会下雨。");
        let reason = |filter: &LanguageFilter, conversation| {
            let verdict = filter.check(conversation);
            verdict.err().map(|found| found.reason)
        };
        let keep = filter(&["eng"], &[]).unwrap();
        assert_eq!(reason(&keep, &english), None);
        assert_eq!(reason(&keep, &chinese), Some("cmn"));
        let skip = filter(&[], &["eng"]).unwrap();
        assert_eq!(reason(&skip, &english), Some("eng"));
        assert_eq!(reason(&skip, &chinese), None);
        assert!(filter(&["english"], &[]).is_err());
    }
}
