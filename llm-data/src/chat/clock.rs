//! `strftime_now`: today's date for templates that state it.

use std::time::{SystemTime, UNIX_EPOCH};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
];

/// The day in UTC: all of the time that most templates state.
pub(crate) fn today() -> String {
    strftime_now("%Y-%m-%d").unwrap_or_default()
}

/// The time in UTC, written by Python's format codes.
pub(super) fn strftime_now(format: &str) -> Result<String, String> {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_err(|error| error.to_string())?;
    strftime(format, since.as_secs())
}

fn strftime(format: &str, seconds: u64) -> Result<String, String> {
    let days = seconds / 86_400;
    let (year, month, day) = date(days);
    let (hour, minute) = (seconds / 3600 % 24, seconds / 60 % 60);
    let month_name = MONTHS[month as usize - 1];
    let day_name = DAYS[(days % 7) as usize];
    let mut text = String::new();
    let mut codes = format.chars();
    while let Some(c) = codes.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut code = codes.next();
        let padded = code != Some('-');
        if !padded {
            code = codes.next();
        }
        let number = |value: u64| {
            if padded {
                format!("{value:02}")
            } else {
                value.to_string()
            }
        };
        text.push_str(&match code {
            Some('Y') => year.to_string(),
            Some('y') => number(year % 100),
            Some('m') => number(month),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number((hour + 11) % 12 + 1),
            Some('M') => number(minute),
            Some('S') => number(seconds % 60),
            Some('p') => (if hour < 12 { "AM" } else { "PM" }).to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name[..3].to_owned(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name[..3].to_owned(),
            Some('%') => "%".to_owned(),
            Some(other) => return Err(format!("strftime_now: unknown code `%{other}`")),
            None => return Err("strftime_now: the format ends in `%`".to_owned()),
        });
    }
    Ok(text)
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar.
fn date(mut days: u64) -> (u64, u64, u64) {
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let february = 28 + u64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn dates_are_those_of_python() {
        let at = |seconds, format| strftime(format, seconds).unwrap();
        assert_eq!(
            at(0, "%A %Y-%m-%d %H:%M:%S"),
            "Thursday 1970-01-01 00:00:00"
        );
        assert_eq!(
            at(951_827_696, "%a %d %b %Y, %-I %p"),
            "Tue 29 Feb 2000, 12 PM"
        );
        assert_eq!(at(1_735_689_599, "%B %-d %y 100%%"), "December 31 24 100%");
        assert_eq!(at(1_767_225_599, "%I:%M"), "11:59");
    }

    #[test]
    fn unknown_codes_are_named() {
        assert!(strftime("%Q", 0).unwrap_err().contains("%Q"));
        assert!(strftime("%", 0).is_err());
    }
}
