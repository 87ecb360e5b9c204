//! The select list applied to an instance.

use super::{
    Schema,
    ast::{Chain, Step},
};
use crate::cim::{Instance, Scalar, Value};

pub(super) fn project(instance: Instance, columns: &[Chain], schema: &dyn Schema) -> Instance {
    let paths: Vec<&[Step]> = columns.iter().map(|chain| chain.steps.as_slice()).collect();
    keep(instance, &paths, schema)
}

/// Keeps the properties with which a path begins. Where no path ends at an embedded instance, it
/// keeps in turn what the paths go on to. A path with a scope is none for an instance of another
/// class.
fn keep(mut instance: Instance, paths: &[&[Step]], schema: &dyn Schema) -> Instance {
    let class = &instance.class;
    let paths: Vec<&[Step]> = paths
        .iter()
        .copied()
        .filter(|path| {
            path.first()
                .and_then(|step| step.scope.as_ref())
                .is_none_or(|scope| schema.is_a(class, scope))
        })
        .collect();
    instance.properties.retain_mut(|property| {
        let named = paths.iter().filter_map(|path| path.split_first());
        let further: Vec<&[Step]> = named
            .filter(|(step, _)| step.property == property.name)
            .map(|(_, further)| further)
            .collect();
        if !further.is_empty()
            && further.iter().all(|path| !path.is_empty())
            && let Some(Value::Scalar(Scalar::EmbeddedInstance(embedded))) = &mut property.value
        {
            let nothing = Instance::new(embedded.class.clone());
            let whole = std::mem::replace(&mut **embedded, nothing);
            **embedded = keep(whole, &further, schema);
        }
        !further.is_empty()
    });
    instance
}
