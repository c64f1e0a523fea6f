//! One method: what it is, whether its options fit it, and the wrapper's version of it.

use std::time::Duration;

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, FnArg, GenericArgument, GenericParam, Ident, Pat, PatIdent, PathArguments,
    Result, ReturnType, Signature, TraitItemFn, Type, TypeImplTrait, TypeParamBound, parse_quote,
};

use crate::options::{At, MethodOptions};

/// What holds for the whole trait.
pub(crate) struct Shared {
    /// Path of the runtime crate.
    pub(crate) rt: TokenStream,
    /// `<__T as Trait<..>>`.
    pub(crate) inner: TokenStream,
    pub(crate) circuit: String,
    pub(crate) classify: Option<syn::Path>,
    pub(crate) local: bool,
    pub(crate) async_trait: bool,
}

/// How a method takes its object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiver {
    None,
    Shared,
    Exclusive,
    Owned,
}

/// What a method's part of the expansion is.
pub(crate) struct Expanded {
    /// The wrapper's method.
    pub(crate) method: TokenStream,
    /// Its `MethodMeta`.
    pub(crate) meta: TokenStream,
    /// Its name and `cfg` attributes, when it has a policy.
    pub(crate) policy: Option<(Vec<Attribute>, Ident)>,
    pub(crate) cfgs: Vec<Attribute>,
}

/// Expands one method, and rewrites its declaration in the trait where that is needed.
pub(crate) fn expand(shared: &Shared, item: &mut TraitItemFn) -> Result<Expanded> {
    let options = MethodOptions::take(&mut item.attrs)?;
    let method = Method::new(shared, item, options)?;
    method.check()?;
    let expanded = method.expand();
    if method.is_async_fn && !shared.async_trait {
        declare_future(shared, &method, item);
    }
    Ok(expanded)
}

struct Method<'a> {
    shared: &'a Shared,
    options: MethodOptions,
    signature: Signature,
    cfgs: Vec<Attribute>,
    receiver: Receiver,
    is_async_fn: bool,
    /// What its future gives; `None` when it returns no future.
    output: Option<Type>,
}

impl<'a> Method<'a> {
    fn new(shared: &'a Shared, item: &TraitItemFn, options: MethodOptions) -> Result<Self> {
        let signature = item.sig.clone();
        if let Some(token) = &signature.unsafety {
            return Err(Error::new(
                token.span,
                "`#[resilient]` cannot forward an unsafe method; move it to another trait",
            ));
        }
        reject_expanded_async_trait(&signature)?;
        let is_async_fn = signature.asyncness.is_some();
        let output = if is_async_fn {
            Some(match &signature.output {
                ReturnType::Default => parse_quote!(()),
                ReturnType::Type(_, ty) => (**ty).clone(),
            })
        } else {
            future_output(&signature.output)
        };
        Ok(Self {
            shared,
            options,
            cfgs: item
                .attrs
                .iter()
                .filter(|attribute| attribute.path().is_ident("cfg"))
                .cloned()
                .collect(),
            receiver: receiver(&signature)?,
            is_async_fn,
            output,
            signature,
        })
    }

    /// The future's output, when the method is protected.
    fn protected(&self) -> Option<&Type> {
        if self.options.skip.is_some() || self.receiver == Receiver::None {
            return None;
        }
        self.output.as_ref()
    }

    fn check(&self) -> Result<()> {
        let options = &self.options;
        let mut errors = Errors::default();
        if let Some(skip) = &options.skip {
            let others = [
                place(options.idempotent.as_ref()),
                place(options.hedge.as_ref()),
                place(options.attempts.as_ref()),
                place(options.attempt_timeout.as_ref()),
                place(options.total_timeout.as_ref()),
                place(options.breaker.as_ref()),
                place(options.classify.as_ref()),
                place(options.stream.as_ref()),
            ];
            if others.iter().flatten().next().is_some() {
                errors.add(
                    skip.span,
                    "`skip` leaves the method unprotected, so no other option can hold",
                );
            }
            return errors.into_result();
        }
        if let Some(span) = options.any
            && self.protected().is_none()
        {
            let why = if self.receiver == Receiver::None {
                "this is a function without `self`, which is forwarded unprotected"
            } else {
                "this method is not async, and is forwarded unprotected"
            };
            errors.add(span, &format!("{why}; remove the options"));
            return errors.into_result();
        }
        if let Some(idempotent) = &options.idempotent
            && self.receiver != Receiver::Shared
        {
            let (have, why) = match self.receiver {
                Receiver::Exclusive => (
                    "&mut self",
                    "its failed attempt may have changed the client",
                ),
                _ => ("self", "its first attempt uses the client up"),
            };
            errors.add(
                idempotent.span,
                &format!(
                    "an `idempotent` method takes `&self`; one with `{have}` cannot be repeated: {why}"
                ),
            );
        }
        if options.idempotent.is_none() {
            for (span, name) in [
                (place(options.hedge.as_ref()), "hedge"),
                (place(options.attempts.as_ref()), "attempts"),
            ] {
                if let Some(span) = span {
                    errors.add(
                        span,
                        &format!(
                            "`{name}` needs `idempotent`: a method is called at most once unless it \
                             is declared safe to repeat"
                        ),
                    );
                }
            }
        }
        if options.stream.is_none() {
            for (span, name) in [
                (place(options.first_item.as_ref()), "first_item"),
                (place(options.idle.as_ref()), "idle"),
                (place(options.last.as_ref()), "last"),
            ] {
                if let Some(span) = span {
                    errors.add(span, &format!("`{name}` needs `stream`"));
                }
            }
        } else if let Some(hedge) = &options.hedge {
            errors.add(hedge.span, "a stream cannot be hedged; remove `hedge`");
        }
        if let (Some(stream), Some(output)) = (&options.stream, self.protected())
            && has_impl(output)
            && stream_item(output).is_none()
        {
            errors.add(
                stream.span,
                "a guarded stream is answered as `Result<impl Stream<Item = Result<T, E>>, E>`",
            );
        }
        errors.into_result()
    }

    fn expand(&self) -> Expanded {
        let cfgs = self.cfgs.clone();
        let (mut signature, arguments) = forwarded(&self.signature, self.receiver);
        if self.is_async_fn && !self.shared.async_trait {
            signature.asyncness = None;
            signature.output = self.declared_output();
        }
        let boxed = self.shared.async_trait && self.is_async_fn;
        let body = if let Some(output) = self.protected() {
            let call = self.protected_call(output, &arguments);
            if boxed {
                call
            } else {
                quote!(async move { #call })
            }
        } else {
            let call = self.call(&arguments, &self.object());
            if boxed { quote!(#call.await) } else { call }
        };
        Expanded {
            method: quote!(#(#cfgs)* #[inline] #signature { #body }),
            meta: self.meta(),
            policy: self
                .protected()
                .map(|_| (cfgs.clone(), self.signature.ident.clone())),
            cfgs,
        }
    }

    /// `-> impl Future<Output = ..> + Send`: what an `async fn` is declared as, so that callers of
    /// generic code may spawn it. Exactly this path: `dynosaur` knows futures by their name.
    fn declared_output(&self) -> ReturnType {
        let output = &self.output;
        let send = (!self.shared.local).then(|| quote!(+ ::core::marker::Send));
        parse_quote!(-> impl ::core::future::Future<Output = #output> #send)
    }

    fn object(&self) -> TokenStream {
        match self.receiver {
            Receiver::None => TokenStream::new(),
            Receiver::Shared => quote!(&self.inner,),
            Receiver::Exclusive => quote!(&mut self.inner,),
            Receiver::Owned => quote!(self.inner,),
        }
    }

    /// The inner client's method, called with these arguments.
    fn call(&self, arguments: &[impl ToTokens], object: &TokenStream) -> TokenStream {
        let name = &self.signature.ident;
        let inner = &self.shared.inner;
        let generics = self.turbofish();
        quote!(#inner::#name #generics(#object #(#arguments),*))
    }

    fn turbofish(&self) -> TokenStream {
        let parameters: Vec<&Ident> = self
            .signature
            .generics
            .params
            .iter()
            .filter_map(|parameter| match parameter {
                GenericParam::Type(ty) => Some(&ty.ident),
                GenericParam::Const(value) => Some(&value.ident),
                GenericParam::Lifetime(_) => None,
            })
            .collect();
        let anonymous =
            self.signature.inputs.iter().any(
                |argument| matches!(argument, FnArg::Typed(argument) if has_impl(&argument.ty)),
            );
        // With `impl Trait` arguments no list may be given, and all can be inferred.
        if parameters.is_empty() || anonymous {
            return TokenStream::new();
        }
        quote!(::<#(#parameters),*>)
    }

    fn protected_call(&self, output: &Type, arguments: &[Ident]) -> TokenStream {
        let name = &self.signature.ident;
        // At the method's return type: that is what a failing bound is about.
        let span = Span::call_site().located_at(output.span());
        let repeatable = self.options.idempotent.is_some();
        let (prelude, object, policy) = match self.receiver {
            Receiver::Shared => (
                TokenStream::new(),
                quote!(&self.inner,),
                quote!(self.policies.#name),
            ),
            _ => (
                quote!(let Self { inner: __inner, policies: __policies } = self;),
                quote!(__inner,),
                quote!(__policies.#name),
            ),
        };
        let call = if repeatable {
            let clones = self.clones(arguments);
            let call = self.call(&clones, &object);
            quote!(|| #call)
        } else {
            let call = self.call(arguments, &object);
            quote!(move || #call)
        };
        // With the whole expression at one place, a bound that fails is told once.
        let policy = relocated(policy, span);
        let judge = self.judge(output, span);
        if self.options.stream.is_none() {
            let run = match (&self.options.hedge, repeatable) {
                (Some(_), _) => format_ident!("run_hedged", span = span),
                (None, true) => format_ident!("run_many", span = span),
                (None, false) => format_ident!("run_once", span = span),
            };
            return quote_spanned!(span=> #prelude #policy.#run(#judge, #call).await);
        }
        let open = if repeatable {
            format_ident!("open_many", span = span)
        } else {
            format_ident!("open_once", span = span)
        };
        let items = self.item_guard(output, span);
        let opened = quote_spanned!(span=> #policy.#open(#judge, #items, #call).await);
        if has_impl(output) {
            return quote!(#prelude #opened);
        }
        let rt = self.rt(span);
        quote_spanned!(span=> #prelude #opened.map(#rt::__private::Rebox::rebox))
    }

    fn clones(&self, arguments: &[Ident]) -> Vec<TokenStream> {
        let typed = self.signature.inputs.iter().skip(1);
        arguments
            .iter()
            .zip(typed)
            .map(|(argument, declared)| {
                let span = match declared {
                    FnArg::Typed(declared) => declared.ty.span(),
                    FnArg::Receiver(receiver) => receiver.span(),
                };
                let span = Span::call_site().located_at(span);
                let argument = relocated(argument.to_token_stream(), span);
                quote_spanned!(span=> ::core::clone::Clone::clone(&#argument))
            })
            .collect()
    }

    /// The runtime crate's path, located where errors about its use belong.
    fn rt(&self, span: Span) -> TokenStream {
        relocated(self.shared.rt.clone(), span)
    }

    fn judge(&self, output: &Type, span: Span) -> TokenStream {
        let error = if has_impl(output) {
            // The whole type cannot be named here, but mostly its error can.
            result_error(output).map(|error| relocated(error.to_token_stream(), span))
        } else {
            Some(self.error_of(output.to_token_stream(), span))
        };
        self.judge_of(error.as_ref(), span)
    }

    /// `<R as Fallible>::Error`.
    fn error_of(&self, result: TokenStream, span: Span) -> TokenStream {
        let (rt, result) = (self.rt(span), relocated(result, span));
        quote_spanned!(span=> <#result as #rt::Fallible>::Error)
    }

    fn judge_of(&self, error: Option<&TokenStream>, span: Span) -> TokenStream {
        let rt = self.rt(span);
        let path = self
            .options
            .classify
            .as_ref()
            .map(|at| &at.value)
            .or(self.shared.classify.as_ref());
        let verdict = match (path, error) {
            (Some(path), _) => quote!(|__error| ::core::convert::Into::into(#path(__error))),
            (None, Some(error)) => quote_spanned!(span=> {
                use #rt::__private::{ViaChain as _, ViaClassify as _, ViaFailure as _};
                (&&&#rt::__private::Select::<#error>::new()).verdict()
            }),
            (None, None) => quote!(|_| #rt::Verdict::failure()),
        };
        let carry = error.map(|error| {
            quote_spanned!(span=> .with_carry({
                use #rt::__private::{ViaCarry as _, ViaNothing as _};
                (&&&#rt::__private::Select::<#error>::new()).carry()
            }))
        });
        quote_spanned!(span=> #rt::Judge::by(#verdict)#carry)
    }

    fn item_guard(&self, output: &Type, span: Span) -> TokenStream {
        let rt = self.rt(span);
        let item = if let Some(item) = stream_item(output) {
            relocated(item.to_token_stream(), span)
        } else {
            let output = relocated(output.to_token_stream(), span);
            quote_spanned!(span=> <<#output as #rt::Fallible>::Ok as #rt::__private::Stream>::Item)
        };
        let error = self.error_of(item, span);
        let judge = self.judge_of(Some(&error), span);
        let last = self.options.last.as_ref().map(|last| {
            let path = &last.value;
            quote!(.ending_with(|__item| #path(__item)))
        });
        quote_spanned!(span=> #rt::ItemGuard::new(#judge)#last)
    }

    fn meta(&self) -> TokenStream {
        let rt = &self.shared.rt;
        let options = &self.options;
        let name = unraw(&self.signature.ident);
        let mut meta = quote!(#rt::MethodMeta::new(#name));
        if self.protected().is_none() {
            return meta;
        }
        let circuit = options
            .breaker
            .as_ref()
            .map_or_else(|| self.shared.circuit.clone(), |at| at.value.value());
        meta.extend(quote!(.with_circuit(#circuit)));
        if options.idempotent.is_some() {
            meta.extend(quote!(.with_idempotent()));
        }
        if options.stream.is_some() {
            meta.extend(quote!(.with_stream()));
        }
        if let Some(attempts) = &options.attempts {
            let attempts = attempts.value;
            meta.extend(quote!(.with_attempts(#attempts)));
        }
        if let Some(hedge) = &options.hedge {
            let after = match hedge.value {
                None => quote!(::core::option::Option::None),
                Some(after) => {
                    let after = time(after);
                    quote!(::core::option::Option::Some(#after))
                }
            };
            meta.extend(quote!(.with_hedge(#after)));
        }
        for (set, value) in [
            ("with_attempt_timeout", &options.attempt_timeout),
            ("with_total_timeout", &options.total_timeout),
            ("with_first_item", &options.first_item),
            ("with_idle", &options.idle),
        ] {
            if let Some(value) = value {
                let (set, value) = (format_ident!("{set}"), time(value.value));
                meta.extend(quote!(.#set(#value)));
            }
        }
        meta
    }
}

/// Rewrites `async fn` in the trait to a function that answers a future. Implementations still
/// write `async fn`.
fn declare_future(shared: &Shared, method: &Method<'_>, item: &mut TraitItemFn) {
    item.sig.asyncness = None;
    item.sig.output = method.declared_output();
    if let Some(body) = item.default.take() {
        item.default = Some(parse_quote!({ async move #body }));
        if !shared.local {
            // The body's future holds `self`, so it is `Send` only if that is.
            let bound = match method.receiver {
                Receiver::Shared => quote!(Self: ::core::marker::Sync),
                Receiver::Exclusive | Receiver::Owned => quote!(Self: ::core::marker::Send),
                Receiver::None => return,
            };
            let clause = item.sig.generics.make_where_clause();
            clause.predicates.push(parse_quote!(#bound));
        }
    }
}

/// The signature with plain argument names in place of patterns, and those names.
fn forwarded(signature: &Signature, receiver: Receiver) -> (Signature, Vec<Ident>) {
    let mut signature = signature.clone();
    let mut names = Vec::new();
    for (index, argument) in signature.inputs.iter_mut().enumerate() {
        match argument {
            FnArg::Receiver(object) => {
                if receiver == Receiver::Owned {
                    object.mutability = None;
                }
            }
            FnArg::Typed(argument) => {
                let name = format_ident!("__argument_{index}");
                argument.attrs.clear();
                *argument.pat = Pat::Ident(PatIdent {
                    attrs: Vec::new(),
                    by_ref: None,
                    mutability: None,
                    ident: name.clone(),
                    subpat: None,
                });
                names.push(name);
            }
        }
    }
    (signature, names)
}

fn receiver(signature: &Signature) -> Result<Receiver> {
    let Some(receiver) = signature.receiver() else {
        return Ok(Receiver::None);
    };
    if receiver.colon_token.is_some() {
        return Err(Error::new_spanned(
            receiver,
            "`#[resilient]` forwards `self`, `&self` and `&mut self`; other receivers would need \
             the wrapped client in the same box",
        ));
    }
    Ok(match (&receiver.reference, &receiver.mutability) {
        (Some(_), None) => Receiver::Shared,
        (Some(_), Some(_)) => Receiver::Exclusive,
        (None, _) => Receiver::Owned,
    })
}

/// `async_trait` leaves a lifetime of its own name behind.
fn reject_expanded_async_trait(signature: &Signature) -> Result<()> {
    let expanded = signature
        .generics
        .lifetimes()
        .any(|parameter| parameter.lifetime.ident == "async_trait");
    if expanded {
        return Err(Error::new(
            signature.ident.span(),
            "`#[resilient]` must stand above `#[async_trait]`, to see the methods as they are \
             written",
        ));
    }
    Ok(())
}

/// `-> impl Future<Output = X>`: X.
fn future_output(output: &ReturnType) -> Option<Type> {
    let ReturnType::Type(_, ty) = output else {
        return None;
    };
    let Type::ImplTrait(ty) = &**ty else {
        return None;
    };
    associated(ty, "Future", "Output").cloned()
}

/// The type named `name` in the bound `bound` of an `impl` type.
fn associated<'a>(ty: &'a TypeImplTrait, bound: &str, name: &str) -> Option<&'a Type> {
    ty.bounds.iter().find_map(|candidate| {
        let TypeParamBound::Trait(candidate) = candidate else {
            return None;
        };
        let segment = candidate.path.segments.last()?;
        let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
            return None;
        };
        if segment.ident != bound {
            return None;
        }
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(argument) if argument.ident == name => Some(&argument.ty),
            _ => None,
        })
    })
}

fn has_impl(ty: &Type) -> bool {
    first_impl(ty, |_| true).is_some()
}

/// `impl Stream<Item = X>` somewhere in the type: X.
fn stream_item(ty: &Type) -> Option<&Type> {
    first_impl(ty, |ty| associated(ty, "Stream", "Item").is_some())
        .and_then(|ty| associated(ty, "Stream", "Item"))
}

fn first_impl(ty: &Type, wanted: fn(&TypeImplTrait) -> bool) -> Option<&TypeImplTrait> {
    struct Finder<'a> {
        wanted: fn(&TypeImplTrait) -> bool,
        found: Option<&'a TypeImplTrait>,
    }
    impl<'a> Visit<'a> for Finder<'a> {
        fn visit_type_impl_trait(&mut self, ty: &'a TypeImplTrait) {
            if self.found.is_none() && (self.wanted)(ty) {
                self.found = Some(ty);
            }
            visit::visit_type_impl_trait(self, ty);
        }
    }
    let mut finder = Finder {
        wanted,
        found: None,
    };
    finder.visit_type(ty);
    finder.found
}

/// `Result<.., E>` whose first part cannot be named: E.
fn result_error(ty: &Type) -> Option<Type> {
    let Type::Path(ty) = ty else { return None };
    let segment = ty.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let mut types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    let error = types.nth(1)?;
    (segment.ident == "Result" && !has_impl(error)).then(|| error.clone())
}

fn time(time: Duration) -> TokenStream {
    let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanos))
}

pub(crate) fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}

/// The same tokens, with the same meaning of their names, at another place: what is wrong with them
/// is then told there, once, instead of once for every way the places can be joined.
fn relocated(tokens: TokenStream, place: Span) -> TokenStream {
    tokens
        .into_iter()
        .map(|mut token| {
            if let TokenTree::Group(group) = &token {
                let inner = relocated(group.stream(), place);
                let mut moved = Group::new(group.delimiter(), inner);
                moved.set_span(place.resolved_at(group.span()));
                return TokenTree::Group(moved);
            }
            token.set_span(place.resolved_at(token.span()));
            token
        })
        .collect()
}

fn place<T>(option: Option<&At<T>>) -> Option<Span> {
    option.map(|at| at.span)
}

/// Collects complaints, so that all are told at once.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn add(&mut self, span: Span, message: &str) {
        self.push(Error::new(span, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    pub(crate) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
