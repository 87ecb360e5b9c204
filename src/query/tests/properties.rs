//! What is printed parses to the same, and evaluation agrees with a slow reference.

use proptest::prelude::*;

use super::*;
use crate::query::{
    ast::{
        Chain, Columns, Comparison, Expr, Literal, Operand, OperandKind, Position, Quantifier,
        Step, Test,
    },
    limits::PatternRoom,
    pattern::Pattern,
};

fn any_name() -> impl Strategy<Value = CimName> {
    prop_oneof!["[ABC]", "T_Base", "é[0-9]"].prop_map(|text| name(&text))
}

fn any_chain(rooted: bool) -> impl Strategy<Value = Chain> {
    let step = (proptest::option::of(any_name()), any_name(), proptest::option::of(0..3u32));
    let step = step.prop_map(move |(scope, property, index)| Step {
        at: Position(0),
        scope: scope.filter(|_| rooted),
        property,
        index,
    });
    (any::<bool>(), prop::collection::vec(step, 1..3)).prop_map(move |(root, mut steps)| {
        // Written out, a first step that is called like the class would be the root.
        let hidden =
            steps[0].scope.is_none() && steps[0].index.is_none() && steps[0].property == "T_Base";
        let root = (rooted && (root || hidden)).then(|| name("T_Base"));
        if hidden && root.is_none() {
            steps[0].property = name("A");
        }
        Chain { at: Position(0), root, steps }
    })
}

fn any_literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Boolean),
        any::<i64>().prop_map(|number| Literal::Integer(number.into())),
        any::<u64>().prop_map(|number| Literal::Integer(number.into())),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Literal::Real),
        any::<String>().prop_map(Literal::Text),
        r"['\\a\n]{0,4}".prop_map(Literal::Text),
    ]
}

fn any_operator() -> impl Strategy<Value = Comparison> {
    prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Greater,
        Comparison::GreaterOrEqual,
    ])
}

fn operand(kind: OperandKind) -> Operand {
    Operand { at: Position(0), kind }
}

fn any_operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        any_chain(true).prop_map(|chain| operand(OperandKind::Chain(chain))),
        any_literal().prop_map(|literal| operand(OperandKind::Literal(literal))),
        (any_chain(true), any::<String>())
            .prop_map(|(property, label)| operand(OperandKind::Symbol { property, label })),
    ]
}

fn any_like() -> impl Strategy<Value = Test> {
    (any::<bool>(), r"[ab.%_\\']{0,3}[b']").prop_filter_map("a pattern", |(negated, text)| {
        // Both dialects print alike, and equality looks at the text.
        let mut room = PatternRoom::new(&Limits::default());
        let pattern = Pattern::compile(Dialect::Wql, &text, &mut room).ok()?;
        Pattern::compile(Dialect::Cql, &text, &mut room).ok()?;
        Some(Test::Like { negated, pattern, at: Position(0) })
    })
}

fn any_condition(wql: bool) -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        (any_operand(), any_operator(), any_operand()).prop_map(|(left, operator, right)| {
            let test = Test::Compare { operator, right, at: Position(0) };
            Expr::Test { operand: left, test }
        }),
        (any_chain(true), any_like()).prop_map(|(chain, test)| Expr::Test {
            operand: operand(OperandKind::Chain(chain)),
            test
        }),
        (any_chain(true), any::<bool>()).prop_map(|(chain, negated)| Expr::IsNull {
            operand: operand(OperandKind::Chain(chain)),
            negated
        }),
        (any_chain(true), any_name()).prop_map(|(chain, class)| Expr::Isa {
            chain,
            class,
            at: Position(0)
        }),
        any_chain(true).prop_map(|chain| Expr::Truth(operand(OperandKind::Chain(chain)))),
        Just(Expr::Truth(operand(OperandKind::Literal(Literal::Boolean(true))))),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        let truth = (inner.clone(), any::<bool>(), any::<bool>());
        prop_oneof![
            several.clone().prop_map(Expr::And),
            several.prop_map(Expr::Or),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
            truth.prop_map(move |(part, negated, truth)| if wql {
                Expr::IsTruth { operand: Box::new(part), negated, truth }
            } else {
                part
            }),
        ]
    })
}

fn any_filter() -> impl Strategy<Value = Expr> {
    let value = prop_oneof![
        any_chain(false).prop_map(OperandKind::Chain),
        any_literal().prop_map(OperandKind::Literal),
        Just(OperandKind::Literal(Literal::Null)),
        prop::collection::vec(any_literal(), 0..3).prop_map(OperandKind::Array),
    ];
    let test = prop_oneof![
        (any_operator(), value).prop_map(|(operator, kind)| Test::Compare {
            operator,
            right: operand(kind),
            at: Position(0)
        }),
        any_like(),
    ];
    let leaf = (any::<Option<(bool, bool)>>(), any_chain(false), test).prop_map(
        |(quantified, chain, test)| match quantified {
            Some((negated, every)) => Expr::Quantified {
                negated,
                quantifier: if every { Quantifier::Every } else { Quantifier::Any },
                array: chain,
                test,
            },
            None => Expr::Test { operand: operand(OperandKind::Chain(chain)), test },
        },
    );
    leaf.prop_recursive(3, 12, 3, |inner| {
        let several = prop::collection::vec(inner, 2..4);
        prop_oneof![several.clone().prop_map(Expr::And), several.prop_map(Expr::Or)]
    })
}

/// Three-valued logic as numbers: 0 false, 1 unknown, 2 true; AND is the least, OR the greatest.
fn slow_logic(expr: &Expr, instance: &Instance, model: &Model) -> u8 {
    match expr {
        Expr::And(parts) => {
            parts.iter().map(|part| slow_logic(part, instance, model)).min().expect("parts")
        }
        Expr::Or(parts) => {
            parts.iter().map(|part| slow_logic(part, instance, model)).max().expect("parts")
        }
        Expr::Not(part) => 2 - slow_logic(part, instance, model),
        leaf => {
            match eval::holds(leaf, instance, model, eval::Nulls::Unknown, Limits::default().work)
                .expect("short texts")
            {
                Some(true) => 2,
                None => 1,
                Some(false) => 0,
            }
        }
    }
}

/// Comparisons of `A`, an integer that may be NULL, with small numbers.
fn numeric_condition() -> impl Strategy<Value = Expr> {
    let leaf = (any_operator(), 0..4i64, any::<bool>()).prop_map(|(operator, number, real)| {
        let literal =
            if real { Literal::Real(number as f64 + 0.5) } else { Literal::Integer(number.into()) };
        let step = Step { at: Position(0), scope: None, property: name("A"), index: None };
        let chain = Chain { at: Position(0), root: None, steps: vec![step] };
        let right = operand(OperandKind::Literal(literal));
        let test = Test::Compare { operator, right, at: Position(0) };
        Expr::Test { operand: operand(OperandKind::Chain(chain)), test }
    });
    leaf.prop_recursive(4, 24, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            several.clone().prop_map(Expr::And),
            several.prop_map(Expr::Or),
            inner.prop_map(|part| Expr::Not(Box::new(part))),
        ]
    })
}

/// The same comparison done with doubled integers, so that `n + 0.5` is one too.
fn slow_comparison(expr: &Expr, value: Option<i64>) -> u8 {
    match expr {
        Expr::And(parts) => {
            parts.iter().map(|part| slow_comparison(part, value)).min().expect("parts")
        }
        Expr::Or(parts) => {
            parts.iter().map(|part| slow_comparison(part, value)).max().expect("parts")
        }
        Expr::Not(part) => 2 - slow_comparison(part, value),
        Expr::Test { test: Test::Compare { operator, right, .. }, .. } => {
            let Some(value) = value else { return 1 };
            let doubled = match &right.kind {
                OperandKind::Literal(Literal::Integer(number)) => 2 * *number as i64,
                OperandKind::Literal(Literal::Real(number)) => (2.0 * number) as i64,
                other => panic!("not generated: {other:?}"),
            };
            let (left, right) = (2 * value, doubled);
            2 * u8::from(match operator {
                Comparison::Equal => left == right,
                Comparison::NotEqual => left != right,
                Comparison::Less => left < right,
                Comparison::LessOrEqual => left <= right,
                Comparison::Greater => left > right,
                Comparison::GreaterOrEqual => left >= right,
            })
        }
        other => panic!("not generated: {other:?}"),
    }
}

fn select(language: Language, columns: Columns, condition: Expr) -> Query {
    let from = name("T_Base");
    let from_at = Position(0);
    let work = Limits::default().work;
    Query { language, columns, from, from_at, alias: None, condition: Some(condition), work }
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(
        (wql, condition) in any::<bool>().prop_flat_map(|wql| (Just(wql), any_condition(wql))),
        columns in prop::collection::vec(any_chain(true), 1..3),
    ) {
        let columns: Vec<Chain> = columns
            .into_iter()
            .map(|mut chain| {
                chain.steps.iter_mut().for_each(|step| step.index = None);
                if chain.root.is_none() && chain.steps[0].scope.is_none() && chain.steps[0].property == "T_Base" {
                    chain.root = Some(name("T_Base"));
                }
                chain
            })
            .collect();
        let language = if wql { Language::Wql } else { Language::Cql };
        let query = select(language, Columns::Listed(columns), condition);
        let text = query.to_string();
        let parsed = parse(language, &text);
        prop_assert_eq!(parsed, Ok(query), "{}", text);
    }

    #[test]
    fn what_is_printed_of_a_filter_parses_to_the_same(condition in any_filter()) {
        let filter = Filter { condition, work: Limits::default().work };
        let text = filter.to_string();
        prop_assert_eq!(parse_filter(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn logic_agrees_with_arithmetic(condition in any_condition(false)) {
        let (model, instance) = (model(), instance());
        let holds = eval::holds(&condition, &instance, &model, eval::Nulls::Unknown, Limits::default().work);
        let expected = match slow_logic(&condition, &instance, &model) {
            0 => Some(false),
            1 => None,
            _ => Some(true),
        };
        prop_assert_eq!(holds, Ok(expected));
    }

    #[test]
    fn comparisons_agree_with_arithmetic(
        condition in numeric_condition(),
        value in proptest::option::of(0..4i64),
    ) {
        let mut instance = Instance::new(name("T_Base"));
        if let Some(value) = value {
            instance.set(name("A"), value);
        }
        let holds = eval::holds(&condition, &instance, &model(), eval::Nulls::Unknown, Limits::default().work);
        let expected = match slow_comparison(&condition, value) {
            0 => Some(false),
            1 => None,
            _ => Some(true),
        };
        prop_assert_eq!(holds, Ok(expected));
    }

    #[test]
    fn no_text_panics(text in ".{0,60}", condition in "[A-Za-z0-9'\"#\\[\\]{}()=<>!.,:\\\\ ]{0,60}") {
        let model = model();
        for language in [Language::Wql, Language::Cql] {
            for text in [text.clone(), format!("SELECT * FROM T_Base WHERE {condition}")] {
                if let Ok(query) = parse(language, &text) {
                    let _ = query.check(&model);
                    query.matches(&instance(), &model);
                }
            }
        }
        if let Ok(filter) = parse_filter(&condition) {
            let _ = filter.check(&name("T_Base"), &model);
            filter.matches(&instance(), &model);
        }
    }
}
