//! What names, courses, addresses and pages may be; pure.

use huleedu_contracts::{
    domain::{CourseCode, PersonName},
    error::ErrorCode,
};
use huleedu_kit::http::{ApiError, ApiResult};
use serde::Deserialize;
use uuid::Uuid;

/// Longest first or last name, in characters.
const MAX_NAME: usize = 100;
/// Longest full name in law, in characters.
const MAX_LEGAL_NAME: usize = 255;
/// Longest e-mail address, in characters (RFC 5321).
const MAX_EMAIL: usize = 254;
/// Most classes named in one request.
const MAX_CLASS_IDS: usize = 100;
/// Most classes on one page.
const MAX_PAGE: u32 = 100;

/// The one course of a class.
///
/// # Errors
/// 400 for none or an unknown one, which is named; 409 for more than one.
pub(crate) fn course(codes: &[String]) -> ApiResult<CourseCode> {
    let known = |code: &String| {
        code.trim().parse::<CourseCode>().map_err(|_| {
            let all: Vec<&str> = CourseCode::ALL.iter().map(|code| code.as_str()).collect();
            ApiError::new(
                ErrorCode::CourseValidationError,
                format!(
                    "there is no course {code:.40?}; choose one of {}",
                    all.join(", ")
                ),
            )
        })
    };
    let (first, rest) = codes.split_first().ok_or_else(|| {
        ApiError::new(
            ErrorCode::CourseValidationError,
            "course_codes must name a course",
        )
    })?;
    let course = known(first)?;
    for code in rest {
        if known(code)? != course {
            return Err(ApiError::new(
                ErrorCode::MultipleCourseError,
                "a class has one course; course_codes names more",
            ));
        }
    }
    Ok(course)
}

/// The name of a student with its blanks trimmed.
///
/// # Errors
/// 400 for a blank or overlong part or one with control characters.
pub(crate) fn person_name(name: &PersonName) -> ApiResult<PersonName> {
    let part = |what: &str, text: &str, max: usize| {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 || length > max || text.chars().any(char::is_control) {
            return Err(ApiError::invalid(format!(
                "{what} must have 1 to {max} characters and no control characters"
            )));
        }
        Ok(text.to_owned())
    };
    let legal = name
        .legal_full_name
        .as_deref()
        .filter(|legal| !legal.trim().is_empty());
    Ok(PersonName {
        first_name: part("first_name", &name.first_name, MAX_NAME)?,
        last_name: part("last_name", &name.last_name, MAX_NAME)?,
        legal_full_name: legal
            .map(|legal| part("legal_full_name", legal, MAX_LEGAL_NAME))
            .transpose()?,
    })
}

/// An e-mail address in its rough shape; whether it exists only a letter to it would tell.
///
/// # Errors
/// 400 for what cannot be an address.
pub(crate) fn email(text: &str) -> ApiResult<String> {
    let text = text.trim();
    let is_plausible = text.chars().count() <= MAX_EMAIL
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && text.rsplit_once('@').is_some_and(|(local, domain)| {
            let is_domain = domain.contains('.') && !domain.split('.').any(str::is_empty);
            !local.is_empty() && is_domain
        });
    if is_plausible {
        Ok(text.to_owned())
    } else {
        Err(ApiError::invalid(
            "email must be an e-mail address such as name@school.example",
        ))
    }
}

/// Ids in a request: UUIDs, each once, in one spelling.
///
/// # Errors
/// 400 for anything else, or for too many.
pub(crate) fn ids<T>(what: &str, given: &[T]) -> ApiResult<Vec<T>>
where
    T: AsRef<str> + TryFrom<String> + PartialEq,
{
    if given.len() > MAX_CLASS_IDS {
        return Err(ApiError::invalid(format!(
            "{what} may name at most {MAX_CLASS_IDS}"
        )));
    }
    let mut ids = Vec::with_capacity(given.len());
    for text in given {
        let id = id(what, text.as_ref())?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

/// One id: a UUID, in its usual spelling.
///
/// # Errors
/// 400 for anything else.
pub(crate) fn id<T: TryFrom<String>>(what: &str, text: &str) -> ApiResult<T> {
    let refuse = || ApiError::invalid(format!("{what} must be a UUID, not {text:.60?}"));
    let uuid = Uuid::try_parse(text).map_err(|_| refuse())?;
    T::try_from(uuid.to_string()).map_err(|_| refuse())
}

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Page {
    #[serde(default = "Page::usual_limit")]
    pub(crate) limit: u32,
    #[serde(default)]
    pub(crate) offset: u32,
}

impl Page {
    const fn usual_limit() -> u32 {
        20
    }

    /// Checks the bounds.
    ///
    /// # Errors
    /// 400 for a limit of 0 or above 100.
    pub(crate) fn check(self) -> ApiResult<Self> {
        if (1..=MAX_PAGE).contains(&self.limit) {
            Ok(self)
        } else {
            Err(ApiError::invalid(format!(
                "limit must be from 1 to {MAX_PAGE}, not {}",
                self.limit
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use huleedu_contracts::ids::ClassId;

    use super::*;

    fn codes(codes: &[&str]) -> Vec<String> {
        codes.iter().map(|code| (*code).to_owned()).collect()
    }

    #[test]
    fn a_class_has_one_known_course() {
        assert_eq!(course(&codes(&["ENG5"])).ok(), Some(CourseCode::Eng5));
        assert_eq!(
            course(&codes(&["SV3", " SV3 "])).ok(),
            Some(CourseCode::Sv3)
        );
        let code = |given: &[&str]| course(&codes(given)).expect_err("refused").code();
        assert_eq!(code(&[]), ErrorCode::CourseValidationError);
        assert_eq!(code(&["MATH1"]), ErrorCode::CourseValidationError);
        assert_eq!(code(&["ENG5", "MATH1"]), ErrorCode::CourseValidationError);
        assert_eq!(code(&["ENG5", "ENG6"]), ErrorCode::MultipleCourseError);
    }

    #[test]
    fn addresses_in_the_shape_of_one_are_taken() {
        for good in [
            "a@b.se",
            "åsa.öberg@skola.exempel.se",
            "\"a@b\"@c.org",
            " a@b.se ",
        ] {
            assert!(email(good).is_ok(), "{good}");
        }
        let long = format!("{}@b.se", "a".repeat(250));
        for bad in [
            "",
            "a",
            "@b.se",
            "a@",
            "a@b",
            "a@.se",
            "a@b.",
            "a b@c.se",
            long.as_str(),
        ] {
            assert!(email(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        let name = |first: &str, legal: Option<&str>| {
            person_name(&PersonName {
                first_name: first.to_owned(),
                last_name: "Lind".to_owned(),
                legal_full_name: legal.map(str::to_owned),
            })
        };
        let good = name(" Åsa ", Some("  ")).expect("good");
        assert_eq!(
            (good.first_name.as_str(), good.legal_full_name),
            ("Åsa", None)
        );
        assert!(name("", None).is_err());
        assert!(name("a\nb", None).is_err());
        assert!(name(&"ö".repeat(100), None).is_ok());
        assert!(name(&"ö".repeat(101), None).is_err());
    }

    #[test]
    fn ids_are_uuids_in_one_spelling() {
        let upper = ClassId::new("0D6EC3CB-DF8B-5805-9DC3-3D0DB66985A6").expect("a text");
        let lower = ClassId::new("0d6ec3cb-df8b-5805-9dc3-3d0db66985a6").expect("a text");
        assert_eq!(
            ids("class_ids", &[upper, lower.clone()]).ok(),
            Some(vec![lower])
        );
        assert!(ids("class_ids", &[ClassId::new("7").expect("a text")]).is_err());
        assert!(id::<ClassId>("class_id", "' OR 1=1").is_err());
    }
}
