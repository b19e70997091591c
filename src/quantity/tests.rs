use std::time::Duration;

use bytesize::ByteSize;
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error},
};

use super::{Bounded, DAY, KIB, MIB, Quantity, duration, show_duration, show_size};

#[test]
fn a_text_is_read_within_the_bounds_and_refused_outside_of_them() {
    check::<Duration, 10, DAY>("5", Ok(Duration::from_secs(5)));
    check::<Duration, 10, DAY>("1h 30m", Ok(Duration::from_secs(5_400)));
    check::<Duration, 10, DAY>("10ms", Ok(Duration::from_millis(10)));
    check::<Duration, 10, DAY>("1day", Ok(Duration::from_secs(86_400)));
    check::<Duration, 10, DAY>("9ms", Err("is 9ms, it must be between 10ms and 1d"));
    check::<Duration, 10, DAY>("25h", Err("is 25h, it must be between 10ms and 1d"));
    check::<Duration, 10, DAY>(
        "500000000000years",
        Err("is 11573785d, it must be between 10ms and 1d"),
    );
    check::<Duration, 10, DAY>(
        "soon",
        Err("\"soon\" is not a duration such as \"500ms\", \"30s\", \"1h\" or a number of seconds"),
    );
    check::<ByteSize, KIB, MIB>("64KiB", Ok(ByteSize::kib(64)));
    check::<ByteSize, KIB, MIB>("2048", Ok(ByteSize::kib(2)));
    check::<ByteSize, KIB, MIB>(
        "16EiB",
        Err("is 18446744073709551615B, it must be between 1KiB and 1MiB"),
    );
    check::<usize, 1, 99>("7", Ok(7));
    check::<usize, 1, 99>("0", Err("is 0, it must be between 1 and 99"));
    check::<usize, 1, 99>("-1", Err("\"-1\" is not a whole number"));
    check::<usize, 1, 99>("1.5", Err("\"1.5\" is not a whole number"));
    check::<u16, 1, 99>(
        "18446744073709551615",
        Err("is 18446744073709551615, it must be between 1 and 99"),
    );
    check::<f64, 1, 1_000>("0.25", Ok(0.25));
    check::<f64, 1, 1_000>("1", Ok(1.0));
    check::<f64, 1, 1_000>("0", Err("is 0, it must be between 0.001 and 1"));
    check::<f64, 1, 1_000>("NaN", Err("is NaN, it must be between 0.001 and 1"));

    #[track_caller]
    fn check<T, const MIN: u64, const MAX: u64>(text: &str, expected: Result<T, &str>)
    where
        T: Quantity + std::fmt::Debug,
    {
        let reader: serde::de::value::StrDeserializer<'_, Error> = text.into_deserializer();
        let read = Bounded::<T, MIN, MAX>::deserialize(reader);
        let read = read.map(Bounded::get).map_err(|error| error.to_string());
        assert_eq!(read, expected.map_err(str::to_owned), "{text}");
    }
}

#[test]
fn a_number_is_read_like_its_text() {
    fn read<'de, T: Quantity, D: IntoDeserializer<'de, Error>>(number: D) -> Result<T, Error> {
        Bounded::<T, 1, 1_000_000>::deserialize(number.into_deserializer()).map(Bounded::get)
    }
    assert_eq!(read(5_u64), Ok(Duration::from_secs(5)));
    assert_eq!(read(0.25_f64), Ok(Duration::from_millis(250)));
    assert_eq!(read(64_i64), Ok(ByteSize::b(64)));
    assert_eq!(read(64_u64), Ok(64_u32));
    assert!(read::<usize, _>(-64_i64).is_err());
    assert!(read::<usize, _>(true).is_err());
}

#[test]
fn a_value_in_code_is_moved_to_the_nearer_bound() {
    for (given, kept) in [(0, 10), (9, 10), (10, 10), (50, 50), (99, 99), (100, 99)] {
        assert_eq!(Bounded::<u32, 10, 99>::from(given), kept, "{given}");
    }
    assert_eq!(Bounded::<f64, 1, 1_000>::from(f64::NAN), 0.001);
}

#[test]
fn written_values_are_read_back() {
    for (millis, text) in [
        (0, "0s"),
        (1, "1ms"),
        (1_500, "1500ms"),
        (90_000, "90s"),
        (300_000, "5m"),
        (86_400_000, "1d"),
    ] {
        let span = Duration::from_millis(millis);
        assert_eq!(show_duration(span), text);
        assert_eq!(duration(text).unwrap(), span);
    }
    for (bytes, text) in [
        (0, "0B"),
        (1, "1B"),
        (1_024, "1KiB"),
        (1_536, "1536B"),
        (3 << 30, "3GiB"),
    ] {
        assert_eq!(show_size(bytes), text);
        assert_eq!(text.parse::<ByteSize>().unwrap().as_u64(), bytes);
    }
}
