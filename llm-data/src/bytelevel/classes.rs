//! The classes of characters that splitting patterns know.

use regex_syntax::hir::{Class as HirClass, HirKind};

/// A character's class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `[^\s\p{L}\p{N}]`.
    Other,
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    /// `\s`.
    Space,
}

/// The class of each character, as the regular expressions of `tokenizers` have it. The standard
/// library's `is_alphabetic` is another class, and its tables may be of another Unicode version.
#[derive(Debug)]
pub(super) struct Classes(Vec<Class>);

impl Classes {
    /// None where `regex-syntax` does not know the classes, which it does.
    pub(super) fn new() -> Option<Self> {
        let mut table = vec![Class::Other; char::MAX as usize + 1];
        let classes = [
            (r"\p{L}", Class::Letter),
            (r"\p{N}", Class::Number),
            (r"\s", Class::Space),
        ];
        for (pattern, class) in classes {
            let hir = regex_syntax::parse(pattern).ok()?;
            let HirKind::Class(HirClass::Unicode(ranges)) = hir.kind() else {
                return None;
            };
            for range in ranges.ranges() {
                table[range.start() as usize..=range.end() as usize].fill(class);
            }
        }
        Some(Self(table))
    }

    pub(super) fn of(&self, c: char) -> Class {
        self.0[c as usize]
    }

    /// Bytes of the characters of a class that a text begins with.
    pub(super) fn run(&self, text: &str, class: Class) -> usize {
        text.find(|c| self.of(c) != class).unwrap_or(text.len())
    }
}
