//! The whole trait: its declaration, the wrapper and the wrapper's implementation.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Error, Generics, Item, ItemTrait, Result, TraitItem, parse_quote};

use crate::method::{self, Errors, Expanded, Shared, unraw};
use crate::options::{MethodOptions, TraitOptions};

/// Expands the attribute. After a complaint the trait itself is still there, so that its users are
/// not full of errors too.
pub(crate) fn resilient(options: TokenStream, item: &TokenStream) -> TokenStream {
    let mut item = match parse_trait(item.clone()) {
        Ok(item) => item,
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#error #item);
        }
    };
    let plain = without_options(&item);
    let expanded = syn::parse2(options).and_then(|options| expand(options, &mut item));
    expanded.unwrap_or_else(|error| {
        let error = error.to_compile_error();
        quote!(#error #[allow(async_fn_in_trait, reason = "an error is reported already")] #plain)
    })
}

fn parse_trait(item: TokenStream) -> Result<ItemTrait> {
    let kind = match syn::parse2::<Item>(item)? {
        Item::Trait(item) => return Ok(item),
        Item::Struct(_) | Item::Enum(_) => "a type",
        Item::Impl(_) => "an `impl` block",
        Item::Fn(_) => "a function",
        _ => "this item",
    };
    Err(Error::new(
        proc_macro2::Span::call_site(),
        format!(
            "`#[resilient]` protects a trait, not {kind}; put the calls behind a trait, or protect \
             a single one with `Policy::call`"
        ),
    ))
}

fn without_options(item: &ItemTrait) -> ItemTrait {
    let mut plain = item.clone();
    for item in &mut plain.items {
        if let TraitItem::Fn(item) = item {
            // Whatever is wrong with the options is reported elsewhere; here they only have to go.
            drop(MethodOptions::take(&mut item.attrs));
        }
    }
    plain
}

/// The parts of the expansion that come from the trait's items.
#[derive(Default)]
struct Parts {
    /// Associated types and constants of the implementation.
    associated: Vec<TokenStream>,
    methods: Vec<Expanded>,
}

fn expand(options: TraitOptions, item: &mut ItemTrait) -> Result<TokenStream> {
    if let Some(token) = &item.unsafety {
        return Err(Error::new(
            token.span,
            "`#[resilient]` cannot vouch for the promises of an unsafe trait",
        ));
    }
    let name = &item.ident;
    let (_, arguments, _) = item.generics.split_for_impl();
    let client = options
        .name
        .as_ref()
        .map_or_else(|| snake_case(&unraw(name)), |at| at.value.value());
    let shared = Shared {
        rt: options.krate.map_or_else(
            || quote!(::fusebox_resilient),
            |at| {
                let path = at.value;
                quote!(#path)
            },
        ),
        inner: quote!(<__T as #name #arguments>),
        circuit: options
            .breaker
            .as_ref()
            .map_or_else(|| client.clone(), |at| at.value.value()),
        classify: options.classify.map(|at| at.value),
        local: options.local,
        async_trait: item.attrs.iter().any(|attribute| {
            let last = attribute.path().segments.last();
            last.is_some_and(|segment| segment.ident == "async_trait")
        }),
    };
    let wrapper = options
        .wrapper
        .map_or_else(|| format_ident!("Resilient{}", unraw(name)), |at| at.value);
    let parts = expand_items(&shared, item)?;
    if parts.methods.iter().all(|method| method.policy.is_none()) {
        return Err(Error::new(
            item.ident.span(),
            "there is nothing to protect: no method of this trait is async",
        ));
    }
    Ok(assemble(&shared, item, &wrapper, &client, &parts))
}

fn expand_items(shared: &Shared, item: &mut ItemTrait) -> Result<Parts> {
    let mut parts = Parts::default();
    let mut errors = Errors::default();
    for item in &mut item.items {
        let inner = &shared.inner;
        match item {
            TraitItem::Fn(function) => match method::expand(shared, function) {
                Ok(expanded) => parts.methods.push(expanded),
                Err(error) => errors.push(error),
            },
            TraitItem::Type(ty) => {
                let name = &ty.ident;
                let (parameters, arguments, clause) = ty.generics.split_for_impl();
                let cfgs = ty.attrs.iter().filter(|a| a.path().is_ident("cfg"));
                parts.associated.push(quote! {
                    #(#cfgs)* type #name #parameters = #inner::#name #arguments #clause;
                });
            }
            TraitItem::Const(value) => {
                let (name, ty) = (&value.ident, &value.ty);
                let cfgs = value.attrs.iter().filter(|a| a.path().is_ident("cfg"));
                parts.associated.push(quote! {
                    #(#cfgs)* const #name: #ty = #inner::#name;
                });
            }
            other => errors.push(Error::new(
                other.span(),
                "`#[resilient]` knows methods, types and constants only",
            )),
        }
    }
    errors.into_result().map(|()| parts)
}

fn assemble(
    shared: &Shared,
    item: &ItemTrait,
    wrapper: &syn::Ident,
    client: &str,
    parts: &Parts,
) -> TokenStream {
    let name = &item.ident;
    let (_, arguments, _) = item.generics.split_for_impl();
    let generics = impl_generics(shared, item);
    let (parameters, _, clause) = generics.split_for_impl();
    let wrapper_items = wrapper_items(shared, item, wrapper, client, parts);
    // A trait with parameters would leave them open, so `.resilient()` is for plain traits.
    let extension = item
        .generics
        .params
        .is_empty()
        .then(|| extension(shared, item, wrapper, &generics));
    let async_trait = item.attrs.iter().filter(|attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|segment| segment.ident == "async_trait")
    });
    let methods = parts.methods.iter().map(|method| &method.method);
    let associated = &parts.associated;
    quote! {
        #[allow(clippy::manual_async_fn, clippy::type_complexity, reason = "generated code")]
        #item

        #wrapper_items

        #extension

        #(#async_trait)*
        #[allow(
            deprecated,
            clippy::manual_async_fn,
            clippy::type_complexity,
            clippy::used_underscore_binding,
            reason = "generated code"
        )]
        impl #parameters #name #arguments for #wrapper<__T> #clause {
            #(#associated)*
            #(#methods)*
        }
    }
}

/// The trait's generics and one parameter more: the client inside.
fn impl_generics(shared: &Shared, item: &ItemTrait) -> Generics {
    let name = &item.ident;
    let (_, arguments, _) = item.generics.split_for_impl();
    let mut generics = item.generics.clone();
    generics.params.push(parse_quote!(__T));
    let clause = generics.make_where_clause();
    let threads = (!shared.local).then(|| quote!(+ ::core::marker::Send + ::core::marker::Sync));
    clause
        .predicates
        .push(parse_quote!(__T: #name #arguments #threads));
    if shared.async_trait {
        clause.predicates.push(parse_quote!(__T: 'static));
    }
    generics
}

/// The wrapper's type, its policies and what it can do besides the trait.
fn wrapper_items(
    shared: &Shared,
    item: &ItemTrait,
    wrapper: &syn::Ident,
    client: &str,
    parts: &Parts,
) -> TokenStream {
    let (rt, name, vis) = (&shared.rt, &item.ident, &item.vis);
    let policies = format_ident!("__{wrapper}Policies");
    let metas = parts.methods.iter().map(|method| {
        let (cfgs, meta) = (&method.cfgs, &method.meta);
        quote!(#(#cfgs)* #meta)
    });
    let protected = || {
        let methods = parts.methods.iter();
        methods.filter_map(|method| Some((method.policy.as_ref()?, &method.meta)))
    };
    // A field per method, so that a method compiled out takes its policy along.
    let fields = protected().map(|((cfgs, name), _)| quote!(#(#cfgs)* #name: #rt::Policy));
    let inits = protected().map(|((cfgs, name), meta)| {
        quote!(#(#cfgs)* #name: resilience.method_policy(Self::CLIENT, &#meta)?)
    });
    let listed = protected().map(|((cfgs, name), _)| {
        let text = unraw(name);
        quote!(#(#cfgs)* (#text, &self.policies.#name))
    });
    let doc =
        format!("[`{name}`] with a policy around every async method. Clones share their policies.");
    quote! {
        #[doc(hidden)]
        #[derive(Debug)]
        #[allow(non_camel_case_types, reason = "generated code")]
        struct #policies { #(#fields,)* }

        #[doc = #doc]
        #[derive(Clone, Debug)]
        #vis struct #wrapper<__T> {
            inner: __T,
            policies: ::std::sync::Arc<#policies>,
        }

        #[allow(dead_code, reason = "generated code")]
        impl<__T> #wrapper<__T> {
            /// The client's name, the first part of its operations' names.
            pub const CLIENT: &'static str = #client;

            /// What the attribute says about every method, in order of declaration.
            pub const METHODS: &'static [#rt::MethodMeta] = &[#(#metas),*];

            /// Wraps a client.
            ///
            /// # Errors
            /// A circuit cannot be registered, or a setting makes no sense.
            pub fn new(
                inner: __T,
                resilience: &#rt::Resilience,
            ) -> ::core::result::Result<Self, #rt::PolicyError> {
                let policies = #policies { #(#inits,)* };
                ::core::result::Result::Ok(Self {
                    inner,
                    policies: ::std::sync::Arc::new(policies),
                })
            }

            /// The client inside.
            pub fn inner(&self) -> &__T {
                &self.inner
            }

            /// The client inside, without its protection.
            pub fn into_inner(self) -> __T {
                self.inner
            }

            /// The policies of the protected methods, by name.
            pub fn policies(&self) -> ::std::vec::Vec<(&'static str, &#rt::Policy)> {
                ::std::vec![#(#listed),*]
            }
        }
    }
}

/// `.resilient()` on every implementation.
fn extension(
    shared: &Shared,
    item: &ItemTrait,
    wrapper: &syn::Ident,
    generics: &Generics,
) -> TokenStream {
    let (rt, vis) = (&shared.rt, &item.vis);
    let extension = format_ident!("{wrapper}Ext");
    let (parameters, _, clause) = generics.split_for_impl();
    quote! {
        #[doc = "`.resilient(&resilience)` on every implementation."]
        #[allow(dead_code, reason = "generated code")]
        #vis trait #extension: ::core::marker::Sized {
            /// Wraps it.
            ///
            /// # Errors
            /// A circuit cannot be registered, or a setting makes no sense.
            fn resilient(
                self,
                resilience: &#rt::Resilience,
            ) -> ::core::result::Result<#wrapper<Self>, #rt::PolicyError> {
                #wrapper::new(self, resilience)
            }
        }
        impl #parameters #extension for __T #clause {}
    }
}

fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (index, letter) in letters.iter().enumerate() {
        if letter.is_uppercase() {
            let previous = index.checked_sub(1).and_then(|at| letters.get(at));
            let next = letters.get(index + 1);
            let starts_word = previous.is_some_and(|c| !c.is_uppercase() && *c != '_')
                || (previous.is_some_and(|c| c.is_uppercase())
                    && next.is_some_and(|c| c.is_lowercase()));
            if starts_word {
                out.push('_');
            }
            out.extend(letter.to_lowercase());
        } else {
            out.push(*letter);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients() {
        assert_eq!(snake_case("BatchConductor"), "batch_conductor");
        assert_eq!(snake_case("HTTPClient"), "http_client");
        assert_eq!(snake_case("Store"), "store");
        assert_eq!(snake_case("LlmV2"), "llm_v2");
    }
}
