//! The 25-character datetime of DSP0004 §5.2.4: a timestamp or an interval, each with asterisks for
//! what is not known.

use std::fmt;

/// A timestamp or an interval, with the precision its writer gave it.
///
/// Printing gives back the 25 characters that were parsed. Two values are equal if they are written
/// alike; [`DateTime::microseconds`] compares points in time.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DateTime([u8; 25]);

/// The text is no datetime; `position` counts characters from 0.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a datetime at character {position}: {expected}")]
pub struct DateTimeError {
    /// The first character that is wrong, from 0.
    pub position: usize,
    /// What had to stand there.
    pub expected: &'static str,
}

const MICROS_PER_SECOND: i128 = 1_000_000;

impl DateTime {
    /// Reads `yyyymmddhhmmss.mmmmmmsutc` (s is `+` or `-`, utc minutes) or
    /// `ddddddddhhmmss.mmmmmm:000`. Asterisks may replace a run of digits that reaches to the end
    /// of the microseconds and, but for the microseconds, begins at a field's start.
    ///
    /// # Errors
    /// [`DateTimeError`] with the first wrong character: a wrong form, a date that does not exist.
    pub fn parse(text: &str) -> Result<Self, DateTimeError> {
        let fail = |position, expected| Err(DateTimeError { position, expected });
        let Ok(bytes) = <[u8; 25]>::try_from(text.as_bytes()) else {
            return fail(text.len().min(25), "a datetime has 25 characters");
        };
        let interval = match bytes[21] {
            b':' => true,
            b'+' | b'-' => false,
            _ => return fail(21, "`+`, `-` or `:`"),
        };
        if bytes[14] != b'.' {
            return fail(14, "`.`");
        }
        if let Some(offset) = bytes[22..].iter().position(|b| !b.is_ascii_digit()) {
            return fail(22 + offset, "a digit");
        }
        if interval && &bytes[22..] != b"000" {
            return fail(22, "`000` after `:`");
        }
        let starts: &[usize] = if interval { &[0, 8, 10, 12] } else { &[0, 4, 6, 8, 10, 12] };
        let mut asterisks = false;
        for position in (0..21).filter(|&position| position != 14) {
            match bytes[position] {
                b'*' if asterisks || position >= 15 || starts.contains(&position) => {
                    asterisks = true
                }
                b'*' => return fail(position, "asterisks replace whole fields"),
                b'0'..=b'9' if asterisks => {
                    return fail(position, "only asterisks after an asterisk");
                }
                b'0'..=b'9' => {}
                _ => return fail(position, "a digit or `*`"),
            }
        }
        let value = Self(bytes);
        value.check_ranges(interval)?;
        Ok(value)
    }

    fn check_ranges(&self, interval: bool) -> Result<(), DateTimeError> {
        let fields: &[(usize, usize, u64, u64, &'static str)] = if interval {
            &[
                (8, 10, 0, 23, "an hour from 00 to 23"),
                (10, 12, 0, 59, "a minute"),
                (12, 14, 0, 59, "a second"),
            ]
        } else {
            &[
                (4, 6, 1, 12, "a month from 01 to 12"),
                (6, 8, 1, 31, "a day from 01 to 31"),
                (8, 10, 0, 23, "an hour from 00 to 23"),
                (10, 12, 0, 59, "a minute from 00 to 59"),
                (12, 14, 0, 60, "a second from 00 to 60"),
            ]
        };
        for &(start, end, low, high, expected) in fields {
            if self.number(start, end).is_some_and(|n| n < low || n > high) {
                return Err(DateTimeError { position: start, expected });
            }
        }
        if !interval
            && let (Some(year), Some(month), Some(day)) =
                (self.number(0, 4), self.number(4, 6), self.number(6, 8))
            && day > days_in_month(year, month)
        {
            return Err(DateTimeError { position: 6, expected: "a day that the month has" });
        }
        Ok(())
    }

    /// The number in a field, or `None` where it has an asterisk.
    fn number(&self, start: usize, end: usize) -> Option<u64> {
        self.0[start..end]
            .iter()
            .try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
    }

    /// A point in time from microseconds since 1970-01-01T00:00:00Z, written with the offset
    /// `utc_minutes`. `None` if the year leaves 0001..=9999 or the offset ±999.
    pub fn timestamp(unix_micros: i64, utc_minutes: i16) -> Option<Self> {
        if utc_minutes.abs() > 999 {
            return None;
        }
        let local = i128::from(unix_micros) + i128::from(utc_minutes) * 60 * MICROS_PER_SECOND;
        let seconds = local.div_euclid(MICROS_PER_SECOND);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(i64::try_from(days).ok()?);
        if !(1..=9999).contains(&year) {
            return None;
        }
        let sign = if utc_minutes < 0 { '-' } else { '+' };
        Self::parse(&format!(
            "{year:04}{month:02}{day:02}{:02}{:02}{:02}.{:06}{sign}{:03}",
            second / 3600,
            second / 60 % 60,
            second % 60,
            local.rem_euclid(MICROS_PER_SECOND),
            utc_minutes.unsigned_abs(),
        ))
        .ok()
    }

    /// An interval; `None` from 10^8 days on.
    pub fn interval(duration: std::time::Duration) -> Option<Self> {
        let seconds = duration.as_secs();
        let text = format!(
            "{:08}{:02}{:02}{:02}.{:06}:000",
            seconds / 86_400,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60,
            duration.subsec_micros(),
        );
        Self::parse(&text).ok()
    }

    /// Whether it is an interval.
    pub fn is_interval(&self) -> bool {
        self.0[21] == b':'
    }

    /// Microseconds since 1970-01-01T00:00:00Z for a timestamp, or the length of an interval, with
    /// unknown fields taken at their least. `None` if a timestamp's year, month or day is unknown.
    pub fn microseconds(&self) -> Option<i128> {
        let fraction: i128 = (15..21).fold(0, |n, i| {
            n * 10 + if self.0[i] == b'*' { 0 } else { i128::from(self.0[i] - b'0') }
        });
        let or_least = |start, end| i128::from(self.number(start, end).unwrap_or(0));
        let clock = or_least(8, 10) * 3600 + or_least(10, 12) * 60 + or_least(12, 14);
        let days = if self.is_interval() {
            or_least(0, 8)
        } else {
            days_from_civil(self.number(0, 4)?, self.number(4, 6)?, self.number(6, 8)?)
        };
        let offset = if self.is_interval() {
            0
        } else {
            let minutes = or_least(22, 25);
            if self.0[21] == b'-' { -minutes } else { minutes }
        };
        Some((days * 86_400 + clock - offset * 60) * MICROS_PER_SECOND + fraction)
    }

    /// The first and the last microsecond that it may stand for, counted as by
    /// [`DateTime::microseconds`]: where a field is unknown, it stands for all that the field can be.
    pub fn bounds(&self) -> (i128, i128) {
        let templates: [&[u8; 21]; 2] = if self.is_interval() {
            [b"00000000000000.000000", b"99999999235959.999999"]
        } else {
            [b"00000101000000.000000", b"99991231235959.999999"]
        };
        let [least, most] = templates.map(|template| {
            let mut filled = *self;
            for (digit, unknown) in filled.0.iter_mut().zip(template) {
                if *digit == b'*' {
                    *digit = *unknown;
                }
            }
            filled
        });
        let mut most = most;
        if let (false, None, Some(year), Some(month)) =
            (self.is_interval(), self.number(6, 8), most.number(0, 4), most.number(4, 6))
        {
            let day = days_in_month(year, month);
            most.0[6..8].copy_from_slice(format!("{day:02}").as_bytes());
        }
        let known = |time: Self| time.microseconds().expect("no field is unknown any more");
        (known(least), known(most))
    }

    /// The 25 characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("parse admits ASCII only")
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counted in years that begin in March so
/// that the leap day is the last of its year.
fn days_from_civil(year: u64, month: u64, day: u64) -> i128 {
    let (year, month, day) = (i128::from(year), i128::from(month), i128::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_printed_as_parsed() {
        for text in [
            "20261123181055.000001+060",
            "20240229235960.999999-999",
            "19700101000000.******+000",
            "197001**********.******+000".get(..25).unwrap_or_default(),
            "00000000000500.000000:000",
            "99999999235959.99****:000",
        ] {
            match DateTime::parse(text) {
                Ok(value) => assert_eq!(value.as_str(), text),
                Err(error) => assert!(text.starts_with("197001***"), "{text}: {error}"),
            }
        }
    }

    #[test]
    fn unknown_fields_stand_for_all_they_can_be() {
        let time = |text: &str| DateTime::parse(text).expect(text);
        let known = |text: &str| time(text).microseconds().expect(text);
        for (text, first, last) in [
            ("20240229235959.123456+060", "20240229235959.123456+060", "20240229235959.123456+060"),
            ("20240229235959.1*****+060", "20240229235959.100000+060", "20240229235959.199999+060"),
            ("202402********.******-000", "20240201000000.000000+000", "20240229235959.999999+000"),
            ("2023**********.******+000", "20230101000000.000000+000", "20231231235959.999999+000"),
            ("**************.******+000", "00000101000000.000000+000", "99991231235959.999999+000"),
            ("00000001******.******:000", "00000001000000.000000:000", "00000001235959.999999:000"),
        ] {
            assert_eq!(time(text).bounds(), (known(first), known(last)), "{text}");
        }
    }

    #[track_caller]
    fn refused(text: &str, position: usize) {
        assert_eq!(DateTime::parse(text).map_err(|error| error.position), Err(position), "{text}");
    }

    #[test]
    fn errors_name_the_character() {
        refused("", 0);
        refused("20261123181055.000001+06", 24);
        refused("20261123181055.000001 060", 21);
        refused("20261123181055,000001+060", 14);
        refused("20261323181055.000001+060", 4);
        refused("20250229181055.000001+060", 6);
        refused("20261123241055.000001+060", 8);
        refused("2026112318105*.000001+060", 13);
        refused("202611**181055.000001+060", 8);
        refused("00000000240000.000000:000", 8);
        refused("00000000000000.000000:001", 22);
        refused("2026112318105é.00001+060", 14);
    }

    #[test]
    fn time_is_counted_from_1970_and_back() {
        let at = |text| DateTime::parse(text).expect("a datetime").microseconds();
        assert_eq!(at("19700101000000.000000+000"), Some(0));
        assert_eq!(at("19700101010000.000000+060"), Some(0));
        assert_eq!(at("20000301000000.000005+000"), Some(951_868_800_000_005));
        assert_eq!(at("00000001000000.000000:000"), Some(86_400_000_000));
        for micros in [0, -1, 951_868_799_999_999, 1_795_450_255_000_000] {
            for offset in [0, 60, -330, 999] {
                let written = DateTime::timestamp(micros, offset).expect("in range");
                assert_eq!(written.microseconds(), Some(micros.into()), "{written}");
            }
        }
        assert_eq!(DateTime::timestamp(i64::MAX, 0), None);
        assert_eq!(DateTime::timestamp(0, 1000), None);
    }

    #[test]
    fn durations_become_intervals() {
        let five_minutes =
            DateTime::interval(std::time::Duration::from_secs(300)).expect("in range");
        assert_eq!(five_minutes.as_str(), "00000000000500.000000:000");
        assert_eq!(DateTime::interval(std::time::Duration::MAX), None);
    }
}
