//! Fusebox on trial: right in every row that applies.

use fusebox_conformance::{Verdict, run};

use crate::fusebox_adapter::{Face, Fusebox};

/// What each face cannot be asked, by design: permits are judged by their holder.
fn right_but_for(face: Face, not_applicable: &[&str]) {
    let report = run(&Fusebox::by(face));
    for (check, verdict) in &report.rows {
        if not_applicable.contains(&check.id) {
            assert!(
                matches!(verdict, Verdict::NotApplicable(_)),
                "{}: {verdict}",
                check.id
            );
        } else {
            assert_eq!(*verdict, Verdict::Right, "{}: {}", check.id, check.title);
        }
    }
}

#[test]
fn every_row_is_right_for_permits() {
    right_but_for(Face::Permits, &["2b"]);
}

#[test]
fn every_row_is_right_for_calls() {
    right_but_for(Face::Calls, &[]);
}
