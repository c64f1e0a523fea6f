//! The table, the verdicts' words, and a make that can do nothing.

use std::sync::Arc;
use std::time::Duration;

use fusebox_conformance::{
    Ability, Breaker, Call, Config, Observer, Refusal, Refused, Report, Subject, Verdict, checks,
    run, table,
};

/// Admits nobody, ever.
struct Wall;

impl Subject for Wall {
    fn name(&self) -> String {
        "wall | of bricks".into()
    }

    fn abilities(&self) -> &[Ability] {
        &[]
    }

    fn make(&self, _: &Config, _: Option<Observer>) -> Result<Arc<dyn Breaker>, Refused> {
        Ok(Arc::new(Wall))
    }
}

impl Breaker for Wall {
    fn start(&self) -> Result<Box<dyn Call>, Refusal> {
        Err(Refusal::default())
    }

    fn pass(&self, _: Duration) {}
}

/// Panics when asked for a breaker.
struct Broken;

impl Subject for Broken {
    fn name(&self) -> String {
        "broken".into()
    }

    fn abilities(&self) -> &[Ability] {
        &[]
    }

    fn make(&self, _: &Config, _: Option<Observer>) -> Result<Arc<dyn Breaker>, Refused> {
        std::panic::resume_unwind(Box::new("no settings today"))
    }
}

fn wall() -> Report {
    let subject: Arc<dyn Subject> = Arc::new(Wall);
    run(&subject)
}

#[test]
fn what_needs_an_ability_is_not_asked_without_it_and_the_rest_is() {
    for (check, verdict) in wall().rows {
        if check.needs.is_empty() {
            assert!(verdict.is_wrong(), "{}: {verdict}", check.id);
        } else {
            let lack = check.needs[0].lack().to_owned();
            assert_eq!(verdict, Verdict::NotApplicable(lack), "{}", check.id);
        }
    }
}

#[test]
fn a_make_that_panics_is_wrong_with_its_words() {
    let subject: Arc<dyn Subject> = Arc::new(Broken);
    let check = checks().iter().find(|c| c.id == "B").expect("there");
    assert_eq!(
        check.judge(&subject).to_string(),
        "wrong: it panicked: no settings today"
    );
}

#[test]
fn the_table_has_a_row_for_each_check_and_says_what_was_seen() {
    let text = table(&[wall()]);
    assert!(text.starts_with("| check | wall / of bricks |\n|---|---|\n| A "));
    for check in checks() {
        assert!(text.contains(&format!("\n| {} {} |", check.id, check.title)));
    }
    assert!(text.contains("| B of 20 half-open callers only the permitted pass | **wrong** |"));
    assert!(text.contains("- wall / of bricks, B: 0 of 20 admitted, permitted 2\n"));
    assert!(text.contains("judges consecutive failures only (A, A′, 18)"));
    assert!(text.contains("\n| right / wrong | 0 / "));
    assert!(text.contains("- 13: a breaker per key"));
}
