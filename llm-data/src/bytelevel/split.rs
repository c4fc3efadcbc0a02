//! Splitting a text into words, by hand for each known pattern.

use crate::bytelevel::classes::{Class, Classes};

/// A way of splitting, each of which splits what the one before it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Digits from other text; one by one, or runs of them.
    Digits { individual: bool },
    /// GPT-2's pattern, [`GPT2`].
    Gpt2,
    /// The pattern of cl100k, Llama 3 and Qwen 2, [`LLAMA3`], with this many digits at most.
    Llama3 { digits: usize },
}

/// GPT-2, `encoder.py`.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// tiktoken's `cl100k_base`, as Llama 3's `tokenizer.json` has it.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2's `tokenizer.json`.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Step {
    /// The splitting of a pattern, where it is a known one.
    pub(super) fn of_pattern(pattern: &str) -> Option<Self> {
        match pattern {
            GPT2 => Some(Self::Gpt2),
            LLAMA3 => Some(Self::Llama3 { digits: 3 }),
            QWEN2 => Some(Self::Llama3 { digits: 1 }),
            _ => None,
        }
    }
}

/// Splits texts into words.
#[derive(Debug)]
pub(super) struct Splitter {
    steps: Vec<Step>,
    classes: Classes,
}

impl Splitter {
    pub(super) fn new(steps: Vec<Step>) -> Option<Self> {
        let classes = Classes::new()?;
        Some(Self { steps, classes })
    }

    /// Gives each word to `each`, until it says no; whether it never did.
    pub(super) fn words(&self, text: &str, each: &mut impl FnMut(&str) -> bool) -> bool {
        self.split(&self.steps, text, each)
    }

    fn split(&self, steps: &[Step], text: &str, each: &mut impl FnMut(&str) -> bool) -> bool {
        let Some((step, steps)) = steps.split_first() else {
            return each(text);
        };
        let mut rest = text;
        while !rest.is_empty() {
            let (word, after) = rest.split_at(self.first(*step, rest));
            if !self.split(steps, word, each) {
                return false;
            }
            rest = after;
        }
        true
    }

    /// Bytes of the first word of a text.
    fn first(&self, step: Step, text: &str) -> usize {
        match step {
            Step::Digits { individual } => digits(text, individual),
            Step::Gpt2 => self.gpt2(text),
            Step::Llama3 { digits } => self.llama3(text, digits),
        }
    }

    fn gpt2(&self, text: &str) -> usize {
        if let Some(length) = contraction(text, |c| c) {
            return length;
        }
        let space = usize::from(text.starts_with(' '));
        let rest = &text[space..];
        match rest.chars().next().map(|c| self.classes.of(c)) {
            None | Some(Class::Space) => self.white_space(text),
            Some(class) => space + self.classes.run(rest, class),
        }
    }

    fn llama3(&self, text: &str, digits: usize) -> usize {
        if let Some(length) = contraction(text, folded) {
            return length;
        }
        let Some(first) = text.chars().next() else {
            return 0;
        };
        match self.classes.of(first) {
            Class::Letter => return self.classes.run(text, Class::Letter),
            Class::Number => {
                let run = text.chars().take(digits);
                let run = run.take_while(|&c| self.classes.of(c) == Class::Number);
                return run.map(char::len_utf8).sum();
            }
            Class::Other | Class::Space => {}
        }
        if !is_newline(first) {
            let letters = self.classes.run(&text[first.len_utf8()..], Class::Letter);
            if letters > 0 {
                return first.len_utf8() + letters;
            }
        }
        let space = usize::from(first == ' ');
        let others = self.classes.run(&text[space..], Class::Other);
        if others > 0 {
            let rest = &text[space + others..];
            let newlines = rest.find(|c| !is_newline(c)).unwrap_or(rest.len());
            return space + others + newlines;
        }
        let run = &text[..self.classes.run(text, Class::Space)];
        match run.rfind(is_newline) {
            Some(newline) => newline + 1,
            None => self.white_space(text),
        }
    }

    /// `\s+(?!\S)|\s+`: a run of white space, without its last character where a word follows.
    fn white_space(&self, text: &str) -> usize {
        let end = self.classes.run(text, Class::Space);
        let last = text[..end].char_indices().next_back();
        match last {
            Some((last, _)) if last > 0 && end < text.len() => last,
            _ => end,
        }
    }
}

fn digits(text: &str, individual: bool) -> usize {
    match text.chars().next() {
        Some(digit) if digit.is_numeric() && individual => digit.len_utf8(),
        Some(digit) if digit.is_numeric() => {
            let end = text.find(|c: char| !c.is_numeric());
            end.unwrap_or(text.len())
        }
        _ => text.find(char::is_numeric).unwrap_or(text.len()),
    }
}

/// Bytes of `'s|'t|'re|'ve|'m|'ll|'d` at a text's beginning, its letters changed by `fold`.
fn contraction(text: &str, fold: impl Fn(char) -> char) -> Option<usize> {
    let mut letters = text.strip_prefix('\'')?.chars();
    let first = letters.next()?;
    let second = match fold(first) {
        's' | 't' | 'm' | 'd' => return Some(1 + first.len_utf8()),
        'r' | 'v' => 'e',
        'l' => 'l',
        _ => return None,
    };
    (fold(letters.next()?) == second).then_some(3)
}

/// A letter without its case, as `(?i:…)` compares it: the long s is an s.
fn folded(c: char) -> char {
    match c {
        'ſ' => 's',
        c => c.to_ascii_lowercase(),
    }
}

fn is_newline(c: char) -> bool {
    matches!(c, '\r' | '\n')
}
