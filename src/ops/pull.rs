//! The pull operations (DSP0200 §5.3.2.24 to §5.3.2.33): the lists of the traditional operations, in
//! pieces.

use super::{
    Context, ObjectStream, Operations,
    association::{Traversal, Yield},
    contexts::{Owner, Pulled},
    namespaces::Scope,
    present::Form,
    select::Selector,
};
use crate::cim::{
    AssociationFilter, CimError, CimName, Class, InstanceOptions, InstancePath, ListKind,
    OpenOptions, Operation, Reply, StatusCode,
};

impl Operations {
    /// Executes one of the pull operations.
    pub(super) async fn pull_operation(
        &self,
        ctx: &Context,
        scope: &Scope,
        operation: PullOperation,
    ) -> Result<Reply, CimError> {
        let owner = Owner { user: ctx.principal.name.clone(), space: scope.space };
        Ok(match operation {
            PullOperation::Open(opening) => self.open(ctx, owner, scope, *opening).await?,
            PullOperation::Pull { kind, context, max } => {
                let pulled = self.contexts().pull(&owner, kind, &context, max);
                let pulled = ctx.while_wanted(pulled).await??;
                reply(kind, pulled, None)
            }
            PullOperation::Close { context } => {
                self.contexts().close(&owner, &context)?;
                Reply::Void
            }
            // How many are left is not known before they are made; NULL says so.
            PullOperation::Count { context } => {
                self.contexts().check(&owner, &context)?;
                Reply::Count(None)
            }
        })
    }

    async fn open(
        &self,
        ctx: &Context,
        owner: Owner,
        scope: &Scope,
        opening: Opening,
    ) -> Result<Reply, CimError> {
        let Opening { source, kind, options: open } = opening;
        let timeout = self.contexts().timeout(open.operation_timeout)?;
        if open.continue_on_error {
            let text = "ContinueOnError is not supported: an enumeration ends with its first error";
            return Err(CimError::new(StatusCode::ContinuationOnErrorNotSupported, text));
        }
        // Its place comes first: what is refused should not cost a search.
        let place = self.contexts().reserve(owner)?;
        let mut result_class = None;
        let stream = match source {
            Source::Instances { class, form } => {
                // Before the filter, which would be an invalid query only because of its class.
                self.core.class(&class, StatusCode::InvalidClass)?;
                let filter = self.core.filter(Some(&class), &open)?;
                self.instances(scope.clone(), class, form, filter)?
            }
            Source::Associated { path, filter, yields, form } => {
                let selector = self.core.filter(None, &open)?;
                let traversal = Traversal::new(&self.core, scope.clone(), path, filter, yields)?;
                self.associated(scope.clone(), traversal.strictly(), form, selector)
            }
            Source::Query { return_class } => {
                let (Some(language), Some(text)) = (&open.filter_language, &open.filter) else {
                    let text = "FilterQueryLanguage and FilterQuery are required";
                    return Err(CimError::new(StatusCode::InvalidParameter, text));
                };
                let query = self.core.query(language, text)?;
                result_class = return_class.then(|| self.core.result_class(&query)).flatten();
                let class = query.from_class().clone();
                self.instances(
                    scope.clone(),
                    class,
                    Form::Instances(InstanceOptions::default()),
                    Some(Selector::Query(query)),
                )?
            }
        };
        // An error before the first object is an ordinary error.
        let stream: ObjectStream = ctx.while_wanted(stream.begin()).await??;
        let opened = place.open(kind, stream, timeout, open.max_object_count);
        let pulled = ctx.while_wanted(opened).await??;
        Ok(reply(kind, pulled, result_class))
    }
}

fn reply(kind: ListKind, pulled: Pulled, query_result_class: Option<Class>) -> Reply {
    let Pulled { objects, context } = pulled;
    Reply::Pulled { kind, objects, context, query_result_class: query_result_class.map(Box::new) }
}

/// A pull operation, sorted by what it does.
pub(super) enum PullOperation {
    Open(Box<Opening>),
    Pull { kind: ListKind, context: String, max: u32 },
    Close { context: String },
    Count { context: String },
}

/// What an Open… operation opens.
pub(super) struct Opening {
    source: Source,
    kind: ListKind,
    options: OpenOptions,
}

enum Source {
    Instances { class: CimName, form: Form },
    Associated { path: InstancePath, filter: AssociationFilter, yields: Yield, form: Form },
    Query { return_class: bool },
}

impl PullOperation {
    /// The operation sorted; `None` if it is no pull operation.
    pub(super) fn from_operation(operation: Operation) -> Option<Self> {
        let pull = |kind, context, max| Some(Self::Pull { kind, context, max });
        let open =
            |source, kind, options| Some(Self::Open(Box::new(Opening { source, kind, options })));
        let associated =
            |path, filter, yields, form| Source::Associated { path, filter, yields, form };
        match operation {
            Operation::OpenEnumerateInstances { class, deep_inheritance, options, open: given } => {
                let form = Form::of_list(&class, deep_inheritance, options);
                open(Source::Instances { class, form }, ListKind::InstancesWithPath, given)
            }
            Operation::OpenEnumerateInstancePaths { class, open: given } => {
                open(Source::Instances { class, form: Form::Paths }, ListKind::InstancePaths, given)
            }
            Operation::OpenAssociatorInstances { path, filter, options, open: given } => {
                let source = associated(path, filter, Yield::Associators, Form::Instances(options));
                open(source, ListKind::InstancesWithPath, given)
            }
            Operation::OpenAssociatorInstancePaths { path, filter, open: given } => {
                let source = associated(path, filter, Yield::Associators, Form::Paths);
                open(source, ListKind::InstancePaths, given)
            }
            Operation::OpenReferenceInstances { path, filter, options, open: given } => {
                let source = associated(path, filter, Yield::References, Form::Instances(options));
                open(source, ListKind::InstancesWithPath, given)
            }
            Operation::OpenReferenceInstancePaths { path, filter, open: given } => {
                let source = associated(path, filter, Yield::References, Form::Paths);
                open(source, ListKind::InstancePaths, given)
            }
            Operation::OpenQueryInstances { return_query_result_class, open: given } => open(
                Source::Query { return_class: return_query_result_class },
                ListKind::Instances,
                given,
            ),
            Operation::PullInstancesWithPath { context, max_object_count } => {
                pull(ListKind::InstancesWithPath, context, max_object_count)
            }
            Operation::PullInstancePaths { context, max_object_count } => {
                pull(ListKind::InstancePaths, context, max_object_count)
            }
            Operation::PullInstances { context, max_object_count } => {
                pull(ListKind::Instances, context, max_object_count)
            }
            Operation::CloseEnumeration { context } => Some(Self::Close { context }),
            Operation::EnumerationCount { context } => Some(Self::Count { context }),
            Operation::GetClass { .. }
            | Operation::EnumerateClasses { .. }
            | Operation::EnumerateClassNames { .. }
            | Operation::CreateClass { .. }
            | Operation::ModifyClass { .. }
            | Operation::DeleteClass { .. }
            | Operation::GetQualifier { .. }
            | Operation::EnumerateQualifiers
            | Operation::SetQualifier { .. }
            | Operation::DeleteQualifier { .. }
            | Operation::GetInstance { .. }
            | Operation::EnumerateInstances { .. }
            | Operation::EnumerateInstanceNames { .. }
            | Operation::CreateInstance { .. }
            | Operation::ModifyInstance { .. }
            | Operation::DeleteInstance { .. }
            | Operation::GetProperty { .. }
            | Operation::SetProperty { .. }
            | Operation::Associators { .. }
            | Operation::AssociatorNames { .. }
            | Operation::References { .. }
            | Operation::ReferenceNames { .. }
            | Operation::ExecQuery { .. }
            | Operation::InvokeMethod { .. } => None,
        }
    }
}
