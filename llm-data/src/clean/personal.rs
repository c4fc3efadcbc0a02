//! Personal data by pattern and check digit: masked or dropped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::Conversation;

use super::verdict::{Found, Verdict, excerpt};

/// A kind of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonalKind {
    /// An e-mail address.
    Email,
    /// A Chinese resident identity card's number of 18 places (GB 11643) with its date and check
    /// digit.
    IdCard,
    /// A credit card's number: 13 to 19 digits that pass Luhn's check and begin with 2 to 6. Beside other
    /// numbers, such as its date, it is found if its groups have 3 digits at least and it begins as
    /// issuers' do, with 22 to 27 or 3 to 6.
    CreditCard,
    /// A telephone number: Chinese mobile, international with `+`, North American.
    Phone,
    /// An IP address that is neither private nor reserved.
    Ip,
}

impl PersonalKind {
    /// All kinds in the order in which they are looked for: a card's number before a telephone's.
    pub const ALL: [Self; 5] = [
        Self::Email,
        Self::IdCard,
        Self::CreditCard,
        Self::Phone,
        Self::Ip,
    ];

    fn reason(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::IdCard => "id_card",
            Self::CreditCard => "credit_card",
            Self::Phone => "phone",
            Self::Ip => "ip",
        }
    }

    fn mask(self) -> &'static str {
        match self {
            Self::Email => "[EMAIL]",
            Self::IdCard => "[ID_CARD]",
            Self::CreditCard => "[CREDIT_CARD]",
            Self::Phone => "[PHONE]",
            Self::Ip => "[IP]",
        }
    }

    fn pattern(self) -> &'static str {
        match self {
            Self::Email => r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
            Self::IdCard => {
                r"[1-9][0-9]{5}(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx]"
            }
            Self::CreditCard => r"[0-9](?:[ -]?[0-9])+",
            Self::Phone => {
                r"(?:(?:\+|00)?86[ -]?)?1[3-9][0-9](?:[ -]?[0-9]{4}){2}|\+[1-9][0-9]{0,2}(?:[ .-]?\(?[0-9]{1,4}\)?){2,6}|(?:\+?1[ .-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}"
            }
            Self::Ip => r"[0-9]{1,3}(?:\.[0-9]+){3,}|[0-9A-Fa-f:]*:[0-9A-Fa-f:]+",
        }
    }

    fn is_valid(self, text: &str) -> bool {
        let digits = || text.bytes().filter(u8::is_ascii_digit);
        match self {
            Self::Email => true,
            Self::IdCard => has_id_check(text),
            Self::CreditCard => {
                let count = digits().count();
                (13..=19).contains(&count)
                    && matches!(text.as_bytes().first(), Some(b'2'..=b'6'))
                    && passes_luhn(text)
            }
            Self::Phone => (8..=15).contains(&digits().count()),
            Self::Ip => text.parse().is_ok_and(is_public),
        }
    }
}

/// What becomes of personal data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PersonalAction {
    /// `[EMAIL]`, `[ID_CARD]`, `[CREDIT_CARD]`, `[PHONE]`, `[IP]` stands in its place.
    #[default]
    Mask,
    /// The record is dropped.
    Drop,
}

/// Options of [`Step::PersonalData`](super::Step).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonalData {
    /// The kinds that are looked for. Default all.
    pub kinds: Vec<PersonalKind>,
    /// What becomes of them.
    pub action: PersonalAction,
}

impl Default for PersonalData {
    fn default() -> Self {
        Self {
            kinds: PersonalKind::ALL.to_vec(),
            action: PersonalAction::Mask,
        }
    }
}

/// [`PersonalData`], compiled.
pub(super) struct PersonalFinder {
    kinds: Vec<(PersonalKind, Regex)>,
    action: PersonalAction,
}

impl PersonalFinder {
    pub(super) fn new(options: &PersonalData) -> Result<Self> {
        let wanted = PersonalKind::ALL.into_iter();
        let kinds = wanted
            .filter(|kind| options.kinds.contains(kind))
            .map(|kind| Ok((kind, Regex::new(kind.pattern())?)));
        let kinds: std::result::Result<Vec<_>, regex::Error> = kinds.collect();
        let kinds =
            kinds.map_err(|error| Error::option("kinds", "kinds whose pattern compiles", error))?;
        Ok(Self {
            kinds,
            action: options.action,
        })
    }

    pub(super) fn apply(&self, conversation: &mut Conversation) -> Verdict {
        let mut changes = Vec::new();
        for message in &mut conversation.messages {
            let mut kinds = Vec::new();
            for (kind, regex) in &self.kinds {
                let places = places(*kind, regex, &message.content);
                if places.is_empty() {
                    continue;
                }
                if self.action == PersonalAction::Drop {
                    return Err(Found::new(kind.reason(), kind.mask()));
                }
                message.content = masked(&message.content, &places, kind.mask());
                kinds.push(kind);
            }
            // The account must not keep what the data loses: nothing is shown before all is masked.
            let text = &message.content;
            changes.extend(kinds.into_iter().map(|kind| {
                let start = text.find(kind.mask()).unwrap_or_default();
                let place = start..start + kind.mask().len();
                Found::new(kind.reason(), excerpt(text, place))
            }));
        }
        Ok(changes)
    }
}

fn places(kind: PersonalKind, regex: &Regex, text: &str) -> Vec<Range<usize>> {
    let found = regex.find_iter(text).map(|found| found.range());
    // `1.2.3.4.` ends a sentence, `01.2.3.4-5` is something else.
    let inside = |character: Option<char>| character.is_some_and(|one| one.is_ascii_alphanumeric());
    let alone = |place: &Range<usize>| {
        !inside(text[..place.start].chars().next_back())
            && !inside(text[place.end..].chars().next())
    };
    let valid = |place: Range<usize>| {
        if alone(&place) && kind.is_valid(&text[place.clone()]) {
            return vec![place];
        }
        match kind {
            PersonalKind::CreditCard => cards(&text[place.clone()])
                .into_iter()
                .map(|card| place.start + card.start..place.start + card.end)
                .filter(alone)
                .collect(),
            _ => Vec::new(),
        }
    };
    found.flat_map(valid).collect()
}

/// The card numbers among the groups of a run of digits, the longest from the left.
fn cards(run: &str) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (place, _) in run
        .bytes()
        .enumerate()
        .filter(|(_, one)| one.is_ascii_digit())
    {
        match groups.last_mut() {
            Some(group) if group.end == place => group.end += 1,
            _ => groups.push(place..place + 1),
        }
    }
    let (mut cards, mut next) = (Vec::new(), 0);
    while let Some(first) = groups.get(next) {
        let ends = groups[next..].iter().enumerate();
        let ends = ends.take_while(|(_, group)| group.len() >= 3 && group.end <= first.start + 40);
        let card = ends
            .filter(|(_, group)| is_card(&run[first.start..group.end]))
            .last();
        match card {
            Some((more, last)) => {
                cards.push(first.start..last.end);
                next += more + 1;
            }
            None => next += 1,
        }
    }
    cards
}

/// Whether it is a card's number by its length, its beginning and its check digit.
fn is_card(text: &str) -> bool {
    let issued = match text.as_bytes() {
        [b'2', second, ..] => matches!(second, b'2'..=b'7'),
        [first, ..] => matches!(first, b'3'..=b'6'),
        [] => false,
    };
    issued && PersonalKind::CreditCard.is_valid(text)
}

fn masked(text: &str, places: &[Range<usize>], mask: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut end = 0;
    for place in places {
        result.push_str(&text[end..place.start]);
        result.push_str(mask);
        end = place.end;
    }
    result + &text[end..]
}

/// Luhn's check (ISO/IEC 7812-1) of the digits; not all of them alike.
fn passes_luhn(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|one| one.to_digit(10)).collect();
    let places = digits.iter().rev().enumerate();
    let sum: u32 = places
        .map(|(place, &digit)| match place % 2 {
            0 => digit,
            _ => 2 * digit / 10 + 2 * digit % 10,
        })
        .sum();
    sum.is_multiple_of(10) && digits.iter().any(|digit| *digit != digits[0])
}

/// The check character of GB 11643 (ISO 7064, MOD 11-2).
fn has_id_check(text: &str) -> bool {
    let value = |character: char| match character {
        'X' | 'x' => 10,
        digit => digit.to_digit(10).unwrap_or(0),
    };
    // Horner's rule: the weights are powers of 2.
    let sum = text
        .chars()
        .fold(0, |sum, character| (2 * sum + value(character)) % 11);
    sum == 1
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || first == 0
        || first >= 240
        || (first == 100 && second & 0xC0 == 64))
}

/// Global unicast, without documentation's; `a::b` is more likely a path in a program.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let groups = address.segments();
    groups[0] & 0xE000 == 0x2000
        && !(groups[0] == 0x2001 && groups[1] == 0xDB8)
        && groups.iter().filter(|group| **group != 0).count() >= 3
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::record::{Message, Role};

    fn mask(text: &str) -> String {
        let mut conversation = Conversation::default();
        conversation.messages.push(Message::new(Role::User, text));
        let finder = PersonalFinder::new(&PersonalData::default()).unwrap();
        finder.apply(&mut conversation).unwrap();
        conversation.messages.remove(0).content
    }

    #[test]
    fn each_kind_is_masked() {
        assert_eq!(
            mask("Write to j.doe+x@mail.example.co.uk."),
            "Write to [EMAIL]."
        );
        assert_eq!(mask("请联系zhang@qq.com，谢谢"), "请联系[EMAIL]，谢谢");
        // The example of the card's standard, and Visa's test number.
        assert_eq!(mask("身份证11010519491231002X。"), "身份证[ID_CARD]。");
        assert_eq!(mask("4111 1111 1111 1111"), "[CREDIT_CARD]");
        assert_eq!(mask("5555-5555-5555-4444, ok"), "[CREDIT_CARD], ok");
        assert_eq!(mask("电话13812345678"), "电话[PHONE]");
        assert_eq!(mask("8613812345678"), "[PHONE]");
        assert_eq!(mask("0086 138 1234 5678"), "[PHONE]");
        assert_eq!(mask("+86 138-1234-5678"), "[PHONE]");
        assert_eq!(
            mask("call (212) 555-0123 or +44 20 7946 0958"),
            "call [PHONE] or [PHONE]"
        );
        assert_eq!(mask("at 8.8.8.8."), "at [IP].");
        assert_eq!(mask("2001:4860:4860::8888 is up"), "[IP] is up");
    }

    #[test]
    fn a_card_is_found_beside_other_numbers() {
        for (text, masked) in [
            ("4111 1111 1111 1111 12/25", "[CREDIT_CARD] 12/25"),
            ("4111-1111-1111-1111 123", "[CREDIT_CARD] 123"),
            ("5 4111 1111 1111 1111", "5 [CREDIT_CARD]"),
            (
                "12 378282246310005 5555555555554444 9",
                "12 [CREDIT_CARD] [CREDIT_CARD] 9",
            ),
        ] {
            assert_eq!(mask(text), masked);
        }
        // Years, and digits one by one, of which some span passes the check.
        let years: Vec<String> = (1990..2030).map(|year| year.to_string()).collect();
        assert_eq!(mask(&years.join(" ")), years.join(" "));
        let digits = "3 1 4 1 5 9 2 6 5 3 5 8 9 7 9 3 2 3 8 4 6 2 6 4 3 3";
        assert_eq!(mask(digits), digits);
    }

    #[test]
    fn what_only_looks_like_it_stays() {
        for text in [
            "a @ b, @name, x@y",
            "110105194912310021",
            "4111 1111 1111 1112",
            "0000000000000000",
            "138123456789",
            "127.0.0.1 192.168.1.1 0.0.0.0 999.1.1.1 1.2.3.4.5",
            "std::abc::def 12:30:45 fe80::1 2001:db8::1:2:3",
            "1 + 2 + 3 = 6; 3.14159265358979",
            "2023-01-01 10:00",
        ] {
            assert_eq!(mask(text), text);
        }
    }

    #[test]
    fn an_example_never_shows_what_was_found() {
        let mut conversation = Conversation::default();
        let text = "a@b.cc and c@d.ee";
        conversation.messages.push(Message::new(Role::User, text));
        let finder = PersonalFinder::new(&PersonalData {
            action: PersonalAction::Drop,
            ..PersonalData::default()
        });
        let found = finder.unwrap().apply(&mut conversation).unwrap_err();
        assert_eq!(found, Found::new("email", "[EMAIL]"));
        let finder = PersonalFinder::new(&PersonalData::default());
        let changes = finder.as_ref().unwrap().apply(&mut conversation).unwrap();
        assert_eq!(changes[0].excerpt, "[EMAIL] and [EMAIL]");
        let text = "a@b.cc 13812345678 8.8.8.8";
        let mut conversation = Conversation::from(vec![Message::new(Role::User, text)]);
        for found in finder.unwrap().apply(&mut conversation).unwrap() {
            assert_eq!(found.excerpt, "[EMAIL] [PHONE] [IP]");
        }
    }
}
