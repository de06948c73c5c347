//! A rule's condition as one tree.
//!
//! rsigma-eval looks each named selection up by its name and matches the patterns of `1 of x*` at
//! every event: 400 ns a rule that misses, where this tree takes a tenth. What a selection
//! means stays the library's: its compiled items and matchers are the leaves.

use std::collections::HashMap;

use rsigma_eval::{
    CompiledDetection, CompiledDetectionItem, CompiledMatcher, CompiledRule, Event,
    compiler::eval_condition,
};
use rsigma_parser::{ConditionExpr, Quantifier};

/// A condition, ready to be asked of an event.
#[derive(Clone, Debug)]
pub enum Test {
    /// All of them, in order.
    All(Vec<Self>),
    /// One of them.
    Any(Vec<Self>),
    /// Not that.
    Not(Box<Self>),
    /// One field.
    Item(Box<CompiledDetectionItem>),
    /// What is rare (keywords, arrays, counts), by the library.
    Other(Box<(ConditionExpr, HashMap<String, CompiledDetection>)>),
}

impl Test {
    /// The test of a whole rule: one of its conditions.
    pub fn of(rule: &CompiledRule) -> Self {
        let conditions = rule.conditions.iter();
        Self::Any(
            conditions
                .map(|condition| Self::condition(condition, &rule.detections))
                .collect(),
        )
    }

    /// Asks an event.
    pub fn holds(&self, event: &impl Event) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(event)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(event)),
            Self::Not(part) => !part.holds(event),
            Self::Item(item) => item_holds(item, event),
            Self::Other(other) => eval_condition(&other.0, &other.1, event, &mut Vec::new()),
        }
    }

    fn condition(
        condition: &ConditionExpr,
        detections: &HashMap<String, CompiledDetection>,
    ) -> Self {
        let part = |part: &ConditionExpr| Self::condition(part, detections);
        let other = || Self::Other(Box::new((condition.clone(), detections.clone())));
        match condition {
            ConditionExpr::And(parts) => Self::All(parts.iter().map(part).collect()),
            ConditionExpr::Or(parts) => Self::Any(parts.iter().map(part).collect()),
            ConditionExpr::Not(inner) => Self::Not(Box::new(part(inner))),
            ConditionExpr::Identifier(name) => match detections.get(name) {
                Some(detection) => Self::detection(detection).unwrap_or_else(other),
                None => Self::Any(Vec::new()),
            },
            ConditionExpr::Selector {
                quantifier,
                pattern,
            } => {
                let mut names: Vec<&String> = detections
                    .keys()
                    .filter(|name| pattern.matches_detection_name(name))
                    .collect();
                names.sort();
                let parts = names
                    .into_iter()
                    .map(|name| part(&ConditionExpr::Identifier(name.clone())))
                    .collect();
                match quantifier {
                    Quantifier::Any => Self::Any(parts),
                    Quantifier::All => Self::All(parts),
                    Quantifier::Count(_) => other(),
                }
            }
        }
    }

    fn detection(detection: &CompiledDetection) -> Option<Self> {
        let several = |parts: &[CompiledDetection]| -> Option<Vec<Self>> {
            parts.iter().map(Self::detection).collect()
        };
        match detection {
            CompiledDetection::AllOf(items) if items.iter().all(|item| item.field.is_some()) => {
                let items = items.iter().map(|item| Self::Item(Box::new(item.clone())));
                Some(Self::All(items.collect()))
            }
            CompiledDetection::AnyOf(parts) => several(parts).map(Self::Any),
            CompiledDetection::And(parts) => several(parts).map(Self::All),
            _ => None,
        }
    }
}

fn item_holds(item: &CompiledDetectionItem, event: &impl Event) -> bool {
    let value = item
        .field
        .as_deref()
        .and_then(|field| event.get_field(field));
    if let Some(expected) = item.exists {
        return value.is_some_and(|value| !value.is_null()) == expected;
    }
    match value {
        Some(value) => item.matcher.matches(&value, event),
        None => matches!(item.matcher, CompiledMatcher::Null),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rsigma_eval::{JsonEvent, compile_rule, evaluate_rule};
    use rsigma_parser::parse_sigma_yaml;
    use serde_json::json;

    use super::Test;

    #[test]
    fn it_says_what_the_library_says() {
        let conditions = [
            "a and not 1 of f_*",
            "all of f_*",
            "2 of f_*",
            "a or k",
            "1 of them",
            "not (a and f_one) or all of them",
            "l",
        ];
        let events = [
            json!({"Image": "/usr/bin/x", "User": "root"}),
            json!({"Image": "/tmp/x", "User": "root", "N": 5}),
            json!({"Image": "/tmp/needle", "Gone": null}),
            json!({"Image": "/USR/bin/y", "N": 7, "Gone": 1}),
            json!({}),
        ];
        let mut held = 0;
        for condition in conditions {
            let text = format!(
                "title: T\nlogsource: {{product: linux, category: process_creation}}\ndetection:\n  a: {{Image|startswith: [/usr/, /opt/]}}\n  f_one: {{User: root}}\n  f_two: {{N|gte: 6}}\n  f_three: {{Gone: null}}\n  k: [needle, other]\n  l: [{{User|exists: false, N: 7}}, {{Image|cased: /tmp/x}}]\n  condition: {condition}\n"
            );
            let parsed = parse_sigma_yaml(&text).unwrap();
            let rule = compile_rule(&parsed.rules[0]).unwrap();
            let test = Test::of(&rule);
            for event in &events {
                let event = JsonEvent::borrow(event);
                let theirs = evaluate_rule(&rule, &event).is_some();
                held += usize::from(theirs);
                assert_eq!(test.holds(&event), theirs, "{condition}");
            }
        }
        assert!((5..30).contains(&held), "{held} of 35 hold");
    }
}
