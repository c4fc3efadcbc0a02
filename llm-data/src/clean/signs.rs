//! Signs that say something beside the words: operators, and what belongs to a number or a name.

use unicode_normalization::UnicodeNormalization;

/// Signs that join what stands on both sides, with a space on each or on none.
const JOINS: &str = "+-*/=<>%^&|~@\\!";
/// Signs that belong to the number behind them.
const BEFORE: &str = "+-<>=$#@&";
/// Signs that belong to the word before them.
const BEHIND: &str = "+#%";
/// Signs that count inside a number only.
const INSIDE: &str = ".,:";

/// Calls `each` with the signs of `text` that say something, and how many letters and digits stand before.
/// Signs in a row are one.
pub(super) fn for_each_sign(text: &str, mut each: impl FnMut(usize, &str)) {
    let mut letters = 0;
    let mut before = Side::default();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let is_sign = |character: char| kind(character).is_some();
        if !is_sign(character) {
            letters += usize::from(character.is_alphanumeric());
            before.pass(character);
            rest = &rest[character.len_utf8()..];
            continue;
        }
        let end = rest.find(|character| !is_sign(character));
        let (signs, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let after = Side::of(behind.chars());
        let signs: String = signs.nfkc().map(plain).collect();
        if says_something(&signs, before, after) {
            each(letters, &signs);
        }
        before = Side::default();
        rest = behind;
    }
}

/// What stands beside a sign.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Side {
    /// The nearest character that is no space, in the same line.
    next: Option<char>,
    /// Whether there is a space between.
    spaced: bool,
    /// Whether it is a letter that stands alone.
    single: bool,
}

impl Side {
    /// Of what stands behind a sign.
    fn of(mut characters: impl Iterator<Item = char>) -> Self {
        let mut side = Self::default();
        for character in characters.by_ref() {
            match character {
                ' ' => side.spaced = true,
                '\n' | '\r' => return side,
                other => {
                    side.next = Some(other);
                    break;
                }
            }
        }
        let second = characters.next();
        side.single = !second.is_some_and(char::is_alphanumeric);
        side
    }

    /// Of what stands before a sign, which comes from the left.
    fn pass(&mut self, character: char) {
        match character {
            ' ' => self.spaced = true,
            '\n' | '\r' => *self = Self::default(),
            _ => {
                let joined = !self.spaced && self.next.is_some_and(char::is_alphanumeric);
                *self = Self {
                    next: Some(character),
                    spaced: false,
                    single: !joined,
                };
            }
        }
    }

    fn is_digit(self) -> bool {
        self.next.is_some_and(char::is_numeric)
    }

    fn is_operand(self) -> bool {
        let quoted = |next| matches!(next, '"' | '\'' | '`' | '{' | '}' | '$');
        self.is_amount()
            || self
                .next
                .is_some_and(|next| next.is_alphanumeric() || quoted(next))
    }

    /// A number, signed or not, a letter that stands for one, or what is in brackets.
    fn is_amount(self) -> bool {
        self.next.is_some_and(|next| match next {
            '(' | ')' | '[' | ']' | '+' | '-' => true,
            next if next.is_numeric() => true,
            next => next.is_alphanumeric() && self.single,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Means something at some places.
    Ascii,
    /// Always means something.
    Other,
}

fn kind(character: char) -> Option<Kind> {
    if character.is_alphanumeric() {
        return None;
    }
    let normal = match character.is_ascii() {
        true => None,
        false => std::iter::once(character).nfkc().next(),
    };
    match plain(normal.unwrap_or(character)) {
        plain if plain.is_ascii() => {
            let known = [JOINS, BEFORE, BEHIND, INSIDE];
            let known = known.iter().any(|signs| signs.contains(plain));
            known.then_some(Kind::Ascii)
        }
        '±' | '×' | '÷' | '¬' | '°' | '¢' | '£' | '¥' => Some(Kind::Other),
        // Arrows, mathematical operators, currencies.
        '\u{2190}'..='\u{22FF}' | '\u{20A0}'..='\u{20CF}' => Some(Kind::Other),
        _ => None,
    }
}

/// The minus sign of mathematics is a hyphen.
fn plain(character: char) -> char {
    match character {
        '\u{2212}' => '-',
        other => other,
    }
}

fn says_something(signs: &str, before: Side, after: Side) -> bool {
    if signs.chars().any(|sign| kind(sign) == Some(Kind::Other)) {
        return true;
    }
    let all = |known: &str| signs.chars().all(|sign| known.contains(sign));
    let inside = !before.spaced && !after.spaced && before.is_digit() && after.is_digit();
    if all(INSIDE) {
        return inside;
    }
    let joins = before.is_operand() && after.is_operand() && before.spaced == after.spaced;
    // Between words a dash is punctuation.
    let joins = joins && !all("!") && (!all("-") || before.is_amount() && after.is_amount());
    let begins = !before.is_operand() || before.spaced;
    let before_number = begins && !after.spaced && after.is_digit();
    let ends = !after.is_operand() || after.spaced;
    let behind_word = ends && !before.spaced && before.is_operand();
    all(JOINS) && joins || all(BEFORE) && before_number || all(BEHIND) && behind_word || inside
}
