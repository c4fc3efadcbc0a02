//! The words of a text, as they are compared.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Calls `each` with the words of `text`, without case and punctuation.
pub(crate) fn for_each_word(text: &str, each: impl FnMut(&str)) {
    let mut splitter = Splitter {
        word: String::new(),
        each,
    };
    // A text may be cut before a space, and before and behind a Chinese character: what is in normal form
    // on both sides is so together. Most pieces then need no work.
    let mut start = 0;
    for (place, character) in text.char_indices() {
        if is_ideograph(character) {
            splitter.piece(&text[start..place]);
            splitter.alone(character);
            start = place + character.len_utf8();
        } else if matches!(character, ' ' | '\n') {
            splitter.piece(&text[start..place]);
            start = place;
        }
    }
    splitter.piece(&text[start..]);
    splitter.end();
}

struct Splitter<F> {
    word: String,
    each: F,
}

impl<F: FnMut(&str)> Splitter<F> {
    fn piece(&mut self, text: &str) {
        if text.is_ascii() {
            text.chars().for_each(|character| self.fold(character));
        } else {
            text.nfkc().for_each(|character| self.fold(character));
        }
    }

    fn alone(&mut self, character: char) {
        self.end();
        self.word.push(character);
        self.end();
    }

    /// Without case: by way of upper case, so that ß is ss and the final ς is σ.
    fn fold(&mut self, character: char) {
        if character.is_ascii_alphanumeric() {
            self.word.push(character.to_ascii_lowercase());
        } else if character.is_ascii() {
            if !vanishes(character) {
                self.end();
            }
        } else {
            let folded = character.to_uppercase().flat_map(char::to_lowercase);
            folded.for_each(|character| self.push(character));
        }
    }

    fn push(&mut self, character: char) {
        if stands_alone(character) {
            self.alone(character);
        } else if character.is_alphanumeric()
            || (is_combining_mark(character) && !self.word.is_empty())
        {
            self.word.push(character);
        } else if !vanishes(character) {
            self.end();
        }
    }

    fn end(&mut self) {
        if !self.word.is_empty() {
            (self.each)(&self.word);
            self.word.clear();
        }
    }
}

/// Whether the character is one of the common Chinese ones, which stand alone, have no case, and neither
/// decompose nor compose.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{4E00}'..='\u{9FFF}')
}

/// Whether the character is a word of its own, since its script has no spaces: BERT's Chinese
/// characters (`BasicTokenizer` in <https://github.com/google-research/bert>) and kana.
pub(crate) fn stands_alone(character: char) -> bool {
    let letter = matches!(character,
        '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}'
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}'
        | '\u{20000}'..='\u{3FFFF}');
    letter && character.is_alphanumeric()
}

/// Whether the character can stand inside a word without being seen or heard: apostrophes, soft
/// hyphens, zero-width characters, variation selectors.
fn vanishes(character: char) -> bool {
    matches!(
        character,
        '\'' | '’' | '\u{AD}' | '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}'
            | '\u{FE00}'..='\u{FE0F}'
    )
}

/// The words as a text again, to be read.
pub(super) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for word in words {
        let (before, after) = (text.chars().next_back(), word.chars().next());
        let touch = |side: Option<char>| side.is_none_or(stands_alone);
        if !(before.is_none() || touch(before) && touch(after)) {
            text.push(' ');
        }
        text.push_str(word);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Vec::new();
        for_each_word(text, |word| words.push(word.to_owned()));
        words
    }

    proptest! {
        #[test]
        fn texts_in_pieces_have_the_words_of_whole_ones(
            text in "[a-zA-Z \n'é\u{301}\u{327}ßΣ한ᄒ\u{1161}かﾞ\u{3099}今天ﬁＡ´\u{200B}，—]{0,40}|\\PC{0,40}",
        ) {
            let mut whole = Vec::new();
            let mut splitter = Splitter {
                word: String::new(),
                each: |word: &str| whole.push(word.to_owned()),
            };
            text.nfkc().for_each(|character| splitter.fold(character));
            splitter.end();
            prop_assert_eq!(words(&text), whole);
        }
    }

    #[test]
    fn common_chinese_characters_are_in_normal_form() {
        for character in '\u{4E00}'..='\u{9FFF}' {
            assert!(stands_alone(character));
            let text = character.to_string();
            assert_eq!(text.nfkc().collect::<String>(), text);
            assert_eq!(text.to_uppercase().to_lowercase(), text);
        }
    }

    #[test]
    fn case_punctuation_and_white_space_are_no_difference() {
        let same = ["don", "t", "panic"];
        assert_eq!(words("Don't  PANIC!"), ["dont", "panic"]);
        assert_eq!(words("“don’t”\n— panic…"), ["dont", "panic"]);
        assert_eq!(words("don-t,panic"), same);
        assert_eq!(words("x = 16-3*4"), ["x", "16", "3", "4"]);
        assert_eq!(words(" \t?! "), [""; 0]);
    }

    #[test]
    fn unicode_writes_the_same_word_in_many_ways() {
        assert_eq!(words("ＡＢＣ１２"), ["abc12"]);
        assert_eq!(words("cafe\u{301}"), words("CAFÉ"));
        assert_eq!(
            words("ﬁne zero\u{200B}width soft\u{AD}hyphen"),
            ["fine", "zerowidth", "softhyphen"]
        );
        assert_eq!(words("Straße ΟΔΟΣ"), words("STRASSE οδος"));
        assert_eq!(words("हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
        assert_eq!(words("한국어 문장"), ["한국어", "문장"]);
        assert_eq!(words("❤️ ok"), ["ok"]);
    }

    #[test]
    fn characters_of_scripts_without_spaces_are_words() {
        assert_eq!(
            words("今天，GPT-4发布。"),
            ["今", "天", "gpt", "4", "发", "布"]
        );
        assert_eq!(words("ｶﾞﾗｽの時々"), ["ガ", "ラ", "ス", "の", "時", "々"]);
    }

    #[test]
    fn joined_words_have_spaces_where_the_script_has_them() {
        let text = "今 天 gpt 4 发 布 is out";
        assert_eq!(join(text.split(' ')), "今天 gpt 4 发布 is out");
        assert_eq!(join(std::iter::empty()), "");
    }
}
