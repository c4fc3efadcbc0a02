//! The expected verdict: what a judge says on average, by the log-probabilities of what might have
//! stood in its verdict's place.

use llm_data::generate::{Alternative, TokenLogprob};
use regex::Regex;

use crate::pattern::pattern;
use crate::stats::{ExpectedPreference, expected_preference};
use crate::verdict::{Compat, Grammar, Range, Verdict, parse};

/// The longest reply that is looked at, in bytes, and how many places of it, from the end.
const LONGEST: usize = 64 << 10;
const PLACES: usize = 256;

/// How many tokens may follow the reply's text: end marks and the like.
const AFTER: usize = 8;

/// How many bytes before the verdict must be those of the tokens.
const BEFORE: usize = 8;

/// The share that tokens may have of which it is not known what they would have become, such as the 1
/// of a 10.
const DOUBT: f64 = 1e-3;

pattern!(LETTER, r"(?i)\b(?:a|b|c|m|tie)\b");
pattern!(NUMBER, r"[0-9]+(?:\.[0-9]+)?");

/// What may stand behind a symbol in its token.
const CLOSING: [char; 7] = [']', '"', '\'', '*', ')', '}', ','];

/// The expected verdict of a reply with these tokens: a preference for the first answer (1, a tie ½, a
/// loss 0) or a score.
///
/// It is there for grammars whose verdict is one letter, word or whole number (`[[A]]`, `[[7]]`,
/// `Output (a)`, `m`, JSON's `winner` and `score`). Each alternative is put in the place of the verdict
/// that was read, and the reply is read again, so that it counts for what the grammar makes of it. For
/// the tokens `m` and `M` that is AlpacaEval's `logprob_parser`, for scores G-Eval's weighted score.
///
/// `None` where that place or a token's meaning is in doubt: tokens that are not those of the text, a
/// score with a fraction, a digit that may be the first one of a longer number.
pub(super) fn expected(
    grammar: &Grammar,
    text: &str,
    tokens: &[TokenLogprob],
) -> Option<ExpectedPreference> {
    if text.len() > LONGEST {
        return None;
    }
    let parsed = parse(grammar, text);
    let verdict = parsed.verdict()?;
    let place = Place::of(grammar, text, verdict)?;
    let (at, before) = place.token(tokens)?;
    let verdicts = match place.symbols {
        Symbols::Letters(_) => place.letters(&tokens[at], before)?,
        Symbols::Numbers(range) => place.numbers(&tokens[at..], before, range)?,
    };
    let said = value(verdict)?;
    let said = verdicts.iter().any(|(value, _)| *value == said);
    expected_preference(&verdicts).ok().filter(|_| said)
}

/// A verdict as a number.
fn value(verdict: &Verdict) -> Option<f64> {
    match verdict {
        Verdict::Preference(preference) => Some(preference.credit()),
        Verdict::Score(score) => Some(*score),
        Verdict::Pair(..) | Verdict::Scores(_) => None,
    }
}

/// How a verdict is spelt.
#[derive(Clone, Copy)]
enum Symbols {
    /// Each with its value.
    Letters(&'static [(&'static str, f64)]),
    Numbers(Range),
}

impl Symbols {
    fn of(grammar: &Grammar, text: &str, verdict: &Verdict) -> Option<Self> {
        let score = matches!(verdict, Verdict::Score(_));
        Some(match grammar {
            Grammar::Pair | Grammar::Compat(Compat::FastchatPair) => {
                Self::Letters(&[("A", 1.0), ("B", 0.0), ("C", 0.5)])
            }
            Grammar::Json(_) if !score => Self::Letters(&[("A", 1.0), ("B", 0.0), ("tie", 0.5)]),
            Grammar::AlpacaEval if text.trim().eq_ignore_ascii_case("m") => {
                Self::Letters(&[("m", 1.0), ("M", 0.0)])
            }
            Grammar::AlpacaEval | Grammar::Compat(Compat::AlpacaEvalRegex) => {
                Self::Letters(&[("a", 1.0), ("b", 0.0)])
            }
            // In a narrower range scores have fractions, of which a token is the beginning only.
            Grammar::Rating(range) | Grammar::Json(range) if range.max() - range.min() >= 2.0 => {
                Self::Numbers(*range)
            }
            Grammar::Compat(Compat::FastchatSingle) => Self::Numbers(Range::default()),
            _ => return None,
        })
    }

    /// Some of them, with their values.
    fn probes(self) -> Vec<(String, f64)> {
        match self {
            Self::Letters(letters) => letters
                .iter()
                .map(|(letter, value)| ((*letter).to_owned(), *value))
                .collect(),
            Self::Numbers(range) => [range.min().ceil(), range.max().floor()]
                .into_iter()
                .map(|number| (number.to_string(), number))
                .collect(),
        }
    }
}

/// Where a reply's verdict stands.
struct Place<'a> {
    grammar: &'a Grammar,
    text: &'a str,
    start: usize,
    end: usize,
    symbols: Symbols,
}

impl<'a> Place<'a> {
    /// The last place where another symbol makes another verdict.
    fn of(grammar: &'a Grammar, text: &'a str, verdict: &Verdict) -> Option<Self> {
        let symbols = Symbols::of(grammar, text, verdict)?;
        let pattern: &Regex = match symbols {
            Symbols::Letters(_) => &LETTER,
            Symbols::Numbers(_) => &NUMBER,
        };
        let found: Vec<_> = pattern.find_iter(text).collect();
        let probes = symbols.probes();
        let places = found.iter().rev().take(PLACES).map(|found| Self {
            grammar,
            text,
            start: found.start(),
            end: found.end(),
            symbols,
        });
        let decides = |place: &Self| {
            let mut probes = probes.iter();
            probes.all(|(symbol, value)| place.read(symbol) == Some(*value))
        };
        let mut places = places;
        let place = places.find(decides)?;
        (!text[place.start..place.end].contains('.')).then_some(place)
    }

    /// The value of the reply's verdict with a symbol in this place.
    fn read(&self, symbol: &str) -> Option<f64> {
        let (before, after) = (&self.text[..self.start], &self.text[self.end..]);
        let parsed = parse(self.grammar, &format!("{before}{symbol}{after}"));
        value(parsed.verdict()?)
    }

    /// The token in which the place begins, and how many of its bytes stand before it. The text's end
    /// is the tokens' end, but for end marks and white space; what they begin with may differ, as
    /// hidden reasoning does.
    fn token(&self, tokens: &[TokenLogprob]) -> Option<(usize, usize)> {
        let (mut joined, mut starts) = (Vec::new(), Vec::with_capacity(tokens.len() + 1));
        for token in tokens {
            starts.push(joined.len());
            joined.extend_from_slice(bytes(token));
        }
        starts.push(joined.len());
        let before = self.text.as_bytes()[..self.start].iter().rev();
        let from = self.start - before.take(BEFORE).take_while(|b| b.is_ascii()).count();
        let tail = self.text.as_bytes()[from..].trim_ascii_end();
        let ends = starts.iter().rev().take(AFTER + 1);
        let mut texts = ends.map(|end| joined[..*end].trim_ascii_end());
        let text = texts.find(|text| text.ends_with(tail))?;
        let place = text.len() - tail.len() + (self.start - from);
        let at = starts
            .partition_point(|start| *start <= place)
            .checked_sub(1)?;
        Some((at, place - starts[at]))
    }

    /// The verdicts of a token's alternatives, each with its log-probability.
    fn letters(&self, token: &TokenLogprob, before: usize) -> Option<Vec<(f64, f64)>> {
        let opening = opening(token, before)?;
        let read = |(text, logprob): (&str, f64)| {
            let letters = inside(text, opening)?.trim_end_matches(closes);
            let whole = !letters.is_empty() && letters.chars().all(char::is_alphabetic);
            let begun = || "tie".starts_with(&letters.to_lowercase()).then_some("tie");
            let value = whole
                .then_some(letters)
                .and_then(|one| self.read(one).or_else(|| self.read(begun()?)));
            Some((value?, logprob))
        };
        Some(alternatives(token).into_iter().filter_map(read).collect())
    }

    /// The scores of a token's alternatives. Where a tokenizer spells numbers digit by digit, the
    /// second token tells a 10 from a 1, if the reply has that 1; `None` where another one's share is
    /// too large to leave it out.
    fn numbers(
        &self,
        tokens: &[TokenLogprob],
        before: usize,
        range: Range,
    ) -> Option<Vec<(f64, f64)>> {
        let opening = opening(&tokens[0], before)?;
        let numbers = alternatives(&tokens[0]).into_iter();
        let numbers = numbers.filter_map(|(text, logprob)| {
            let number = Number::of(inside(text, opening)?)?;
            Some((number, logprob, text == tokens[0].token))
        });
        let numbers: Vec<_> = numbers.collect();
        let at_once = numbers.iter().any(|(number, ..)| number.digits.len() > 1);
        let mut spelt: Vec<(String, f64)> = Vec::new();
        let mut doubt = 0.0;
        for (number, logprob, said) in numbers {
            let digits = number.digits.to_owned();
            if at_once || number.ended || !is_begun(&digits, range) {
                spelt.push((digits, logprob));
            } else if let Some(next) = tokens.get(1).filter(|_| said) {
                for (text, after) in alternatives(next) {
                    match Number::of(text) {
                        Some(more)
                            if more.ended || !is_begun(&(digits.clone() + more.digits), range) =>
                        {
                            spelt.push((digits.clone() + more.digits, logprob + after));
                        }
                        Some(_) => doubt += (logprob + after).exp(),
                        // A point begins a fraction.
                        None if text.starts_with(|c: char| c == '.' || c.is_ascii_digit()) => {}
                        None => spelt.push((digits.clone(), logprob + after)),
                    }
                }
            } else {
                doubt += logprob.exp();
            }
        }
        let scores = spelt.iter().filter_map(|(digits, logprob)| {
            let score = self.read(digits)?;
            (range.min()..=range.max())
                .contains(&score)
                .then_some((score, *logprob))
        });
        let scores: Vec<_> = scores.collect();
        let sure: f64 = scores.iter().map(|(_, logprob)| logprob.exp()).sum();
        (doubt <= DOUBT * (sure + doubt)).then_some(scores)
    }
}

/// The digits with which a token begins.
struct Number<'a> {
    digits: &'a str,
    /// Whether the token goes on after them, so that no more can follow.
    ended: bool,
}

impl<'a> Number<'a> {
    /// `None` for a token that has something else.
    fn of(text: &'a str) -> Option<Self> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        let number = !digits.is_empty() && rest.chars().all(closes);
        number.then_some(Self {
            digits,
            ended: !rest.is_empty(),
        })
    }
}

/// Whether more digits make another number in the range.
fn is_begun(digits: &str, range: Range) -> bool {
    let number: f64 = digits.parse().unwrap_or(0.0);
    let (mut low, mut count) = (number * 10.0, 10.0);
    while number > 0.0 && low <= range.max() {
        if low + count > range.min() {
            return true;
        }
        (low, count) = (low * 10.0, count * 10.0);
    }
    false
}

fn bytes(token: &TokenLogprob) -> &[u8] {
    token.bytes.as_deref().unwrap_or(token.token.as_bytes())
}

/// What a token has before a place in it, such as a quotation mark, without white space.
fn opening(token: &TokenLogprob, before: usize) -> Option<&str> {
    let opening = bytes(token).get(..before)?;
    Some(std::str::from_utf8(opening).ok()?.trim())
}

/// What a token has behind the same opening.
fn inside<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    Some(text.trim_start().strip_prefix(opening)?.trim_start())
}

fn closes(c: char) -> bool {
    c.is_whitespace() || CLOSING.contains(&c)
}

/// The texts that might have stood in a token's place, itself among them, with their
/// log-probabilities. One that is listed twice counts once; equal texts of different tokens do not.
fn alternatives(token: &TokenLogprob) -> Vec<(&str, f64)> {
    let mut found: Vec<(&str, f64)> = Vec::new();
    for Alternative { token, logprob } in &token.alternatives {
        if !found.contains(&(token, *logprob)) {
            found.push((token, *logprob));
        }
    }
    if found.iter().all(|(text, _)| *text != token.token) {
        found.push((&token.token, token.logprob));
    }
    found
}
