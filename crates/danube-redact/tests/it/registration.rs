//! What may be registered, when, and what the caller hears.

use crate::with_values;
use danube_redact::{MASK, RULE_VALUE, Redactor, Refused, Rules, Secrets};

#[test]
fn a_value_that_would_shred_the_log_is_refused_with_advice() {
    let secrets = Secrets::new(Rules::none());
    for (value, why) in [
        ("", Refused::Empty),
        (" \t\r\n ", Refused::Empty),
        ("1", Refused::TooShort { min: 8 }),
        ("short77", Refused::TooShort { min: 8 }),
        ("  short77  ", Refused::TooShort { min: 8 }),
        ("aaaaaaaaaaaa", Refused::SingleRepeatedCharacter),
        ("--------------------", Refused::SingleRepeatedCharacter),
        ("password", Refused::CommonWord),
        ("LOCALHOST", Refused::CommonWord),
        ("production", Refused::CommonWord),
        ("12345678", Refused::CommonWord),
    ] {
        assert_eq!(secrets.register(value.as_bytes()), Err(why), "{value:?}");
        let said = why.to_string();
        assert!(
            said.contains("use ") || said.contains("give "),
            "no advice: {said}"
        );
        assert!(
            value.is_empty()
                || !said.contains(value.trim())
                || value.trim().len() < 2
                || why == Refused::Empty
        );
    }
    // A refused value changes nothing.
    let text = "password=aaaaaaaaaaaa on localhost\n";
    assert_eq!(secrets.redact(text), text);
}

#[test]
fn short_values_are_masked_when_the_caller_insists_and_never_shorter_than_six() {
    let secrets = Secrets::new(Rules::none());
    assert_eq!(secrets.register_short(b"pin-42"), Ok(()));
    assert_eq!(
        secrets.register_short(b"pin-4"),
        Err(Refused::TooShort { min: 6 })
    );
    assert_eq!(secrets.register_short(b"      "), Err(Refused::Empty));
    assert_eq!(secrets.register_short(b"docker"), Err(Refused::CommonWord));
    assert_eq!(secrets.redact("a pin-42."), "a [redacted].");
}

#[test]
fn white_space_around_a_value_does_not_matter_and_twice_is_once() {
    for value in ["k4n4r13n", "k4n4r13n\n", "\r\n k4n4r13n\t"] {
        let secrets = Secrets::new(Rules::none());
        secrets.register(value.as_bytes()).unwrap();
        secrets.register(value.as_bytes()).unwrap();
        let mut redactor = Redactor::new(&secrets);
        let mut out = Vec::new();
        redactor.push(b"<k4n4r13n>\n", &mut out);
        redactor.finish(&mut out);
        assert_eq!(out, b"<[redacted]>\n");
        assert_eq!(redactor.take_counts()[RULE_VALUE], 1);
    }
}

#[test]
fn lines_of_a_value_that_would_shred_the_log_are_left_out_and_the_rest_is_not() {
    let value = "{\n  \"a\": \"0815-4711-x\",\n\n--------------\nlocalhost\n}";
    assert_eq!(
        with_values(
            &[value],
            &["{\n}\n\n--------------\nlocalhost\n\"a\": \"0815-4711-x\",\n"]
        ),
        "{\n}\n\n--------------\nlocalhost\n[redacted]\n"
    );
    assert_eq!(with_values(&[value], &["x", value]), "x[redacted]");
}

#[test]
fn a_value_added_while_the_job_runs_covers_what_is_held_and_all_that_comes() {
    let secrets = Secrets::new(Rules::builtin());
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    redactor.push(b"one late-value-1\ntwo ", &mut out);
    redactor.flush_partial(&mut out);
    // Too late for what is out.
    assert_eq!(out, b"one late-value-1\ntwo ");
    secrets.register(b"late-value-1").unwrap();
    redactor.push(b"late-value-1\nthree l", &mut out);
    redactor.push(b"ate-value-1", &mut out);
    secrets.register(b"value-1 four").unwrap();
    redactor.push(b" four\n", &mut out);
    redactor.finish(&mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "one late-value-1\ntwo [redacted]\nthree [redacted]\n"
    );
}

#[test]
fn a_value_added_between_two_halves_of_itself_covers_the_half_that_is_not_out() {
    let secrets = Secrets::new(Rules::none());
    secrets.register(b"other-value").unwrap();
    let mut redactor = Redactor::new(&secrets);
    let mut out = Vec::new();
    // Not flushed: nothing is out yet.
    redactor.push(b"is k4n4r", &mut out);
    secrets.register(b"k4n4r13n-vogel").unwrap();
    redactor.push(b"13n-vogel.", &mut out);
    redactor.finish(&mut out);
    assert_eq!(out, b"is [redacted].");
}

#[test]
fn every_redactor_of_a_job_takes_up_a_new_value() {
    let secrets = Secrets::new(Rules::none());
    let mut streams = [Redactor::new(&secrets), Redactor::new(&secrets)];
    secrets.clone().register(b"k4n4r13n").unwrap();
    for redactor in &mut streams {
        let mut out = Vec::new();
        redactor.push(b"k4n4r13n", &mut out);
        redactor.finish(&mut out);
        assert_eq!(out, MASK.as_bytes());
    }
}

#[test]
fn hundreds_of_values_are_all_masked() {
    let secrets = Secrets::new(Rules::builtin());
    let values: Vec<String> = (0..500)
        .map(|it| format!("v{it:03}-{:x}", it * 7_919))
        .collect();
    for value in &values {
        secrets.register(format!("{value}-pad").as_bytes()).unwrap();
    }
    let text: String = values.iter().map(|it| format!("is {it}-pad,\n")).collect();
    assert_eq!(secrets.redact(&text), "is [redacted],\n".repeat(500));
}

#[test]
fn a_value_of_short_lines_is_not_looked_for_in_forms_that_would_shred_the_log() {
    let value = "a\r\n\r\n\r\nb";
    let text = "a   b, a\n\n\nb";
    assert_eq!(
        with_values(&[value], &[text, value]),
        format!("{text}{MASK}")
    );
}
