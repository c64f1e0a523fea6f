//! Together with the neighbours: `async_trait`, `mockall`, `auto_impl`, `dynosaur`; generic traits, `?Send`.

use std::rc::Rc;
use std::sync::Arc;

use fusebox_resilient::{Rejected, resilient};

use crate::support::resilience;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("broken")]
    Broken,
    #[error("rejected")]
    Rejected(#[from] Rejected),
}

impl Error {
    fn is_refusal(&self) -> bool {
        matches!(self, Error::Rejected(rejected) if rejected.not_permitted().is_some())
    }
}

mod with_async_trait {
    use super::*;

    #[resilient]
    #[async_trait::async_trait]
    #[auto_impl::auto_impl(Arc, Box)]
    pub(super) trait Store: Send + Sync {
        async fn get(&self, key: String) -> Result<u32, Error>;
        #[resilient(idempotent, hedge = "1s")]
        async fn list(&self, part: &str) -> Result<Vec<u32>, Error>;
        #[resilient(skip)]
        async fn ping(&self) -> bool;
        fn id(&self) -> u8;
    }

    struct Memory;

    #[async_trait::async_trait]
    impl Store for Memory {
        async fn get(&self, _: String) -> Result<u32, Error> {
            Err(Error::Broken)
        }
        async fn list(&self, part: &str) -> Result<Vec<u32>, Error> {
            Ok(vec![u32::try_from(part.len()).unwrap()])
        }
        async fn ping(&self) -> bool {
            true
        }
        fn id(&self) -> u8 {
            3
        }
    }

    #[tokio::test]
    async fn an_erased_client_is_protected_from_outside_or_inside() {
        let inside: Arc<dyn Store> = Arc::new(Memory.resilient(&resilience(1)).unwrap());
        let outside: Arc<dyn Store> = Arc::new(Memory);
        let outside = ResilientStore::new(outside, &resilience(1)).unwrap();
        let both: [Box<dyn Store>; 2] = [Box::new(inside), Box::new(outside)];
        for store in both {
            assert_eq!(store.list("ab").await.unwrap(), [2]);
            assert!(store.ping().await);
            assert_eq!(store.id(), 3);
            assert!(matches!(store.get("a".into()).await, Err(Error::Broken)));
            assert!(store.list("ab").await.unwrap_err().is_refusal());
        }
    }
}

mod with_dynosaur {
    use super::*;

    #[resilient]
    #[dynosaur::dynosaur(pub(super) DynStore = dyn(box) Store)]
    pub(super) trait Store: Send + Sync {
        async fn get(&self, key: u32) -> Result<u32, Error>;
    }

    struct Memory;

    impl Store for Memory {
        async fn get(&self, key: u32) -> Result<u32, Error> {
            if key == 0 {
                Err(Error::Broken)
            } else {
                Ok(key)
            }
        }
    }

    #[tokio::test]
    async fn a_native_trait_becomes_dynamic() {
        let store = DynStore::new_box(Memory.resilient(&resilience(1)).unwrap());
        let (first, second, third) =
            tokio::spawn(
                async move { (store.get(4).await, store.get(0).await, store.get(4).await) },
            )
            .await
            .unwrap();
        assert_eq!(first.unwrap(), 4);
        assert!(matches!(second, Err(Error::Broken)));
        assert!(third.unwrap_err().is_refusal());
    }
}

mod with_mockall {
    use super::*;

    #[resilient]
    #[mockall::automock]
    pub(super) trait Api {
        async fn call(&self, number: u32) -> Result<u32, Error>;
    }

    #[tokio::test]
    async fn a_mock_inside_the_wrapper() {
        let mut mock = MockApi::new();
        mock.expect_call()
            .times(1)
            .returning(|_| Box::pin(async { Err(Error::Broken) }));
        let api = mock.resilient(&resilience(1)).unwrap();
        assert!(matches!(api.call(1).await, Err(Error::Broken)));
        assert!(api.call(1).await.unwrap_err().is_refusal());
    }

    #[tokio::test]
    async fn a_mock_of_async_trait_inside_the_wrapper() {
        let mut mock = boxed::MockApi::new();
        mock.expect_call().times(3).returning(|number| {
            if number == 0 {
                Err(Error::Broken)
            } else {
                Ok(number)
            }
        });
        let api = boxed::ResilientApi::new(mock, &resilience(9)).unwrap();
        assert_eq!(boxed::Api::call(&api, 1).await.unwrap(), 1);
        assert!(boxed::Api::call(&api, 0).await.is_err());
        assert_eq!(boxed::Api::call(&api, 2).await.unwrap(), 2);
    }

    mod boxed {
        use super::super::{Error, resilient};

        #[resilient]
        #[mockall::automock]
        #[async_trait::async_trait]
        pub(super) trait Api: Send + Sync {
            async fn call(&self, number: u32) -> Result<u32, Error>;
        }
    }
}

mod generic {
    use super::*;

    #[resilient(wrapper = Guarded, name = "repo", breaker = "database")]
    pub(super) trait Repo<K: Send + Sync + 'static, const N: usize>
    where
        K: Clone,
    {
        type Row: Send;
        async fn find(&self, key: K) -> Result<[Self::Row; N], Error>;
    }

    struct Memory;

    impl Repo<u8, 2> for Memory {
        type Row = u8;
        async fn find(&self, key: u8) -> Result<[u8; 2], Error> {
            Ok([key, key])
        }
    }

    #[tokio::test]
    async fn a_trait_with_parameters() {
        let resilience = resilience(1);
        let repo = Guarded::new(Memory, &resilience).unwrap();
        assert_eq!(repo.find(1).await.unwrap(), [1, 1]);
        assert!(resilience.registry().get("database").is_some());
        let repo = Guarded::<Memory>::METHODS[0];
        assert_eq!(repo.circuit(), Some("database"));
    }
}

mod local {
    use super::*;

    #[resilient(?Send)]
    pub(super) trait Local {
        async fn go(&self, add: Rc<u8>) -> Result<u8, Error>;
        async fn twice(&self, add: Rc<u8>) -> Result<u8, Error> {
            Ok(self.go(Rc::clone(&add)).await? + self.go(add).await?)
        }
    }

    struct Counter(Rc<u8>);

    impl Local for Counter {
        async fn go(&self, add: Rc<u8>) -> Result<u8, Error> {
            Ok(*add + *self.0)
        }
    }

    #[tokio::test]
    async fn futures_that_stay_on_their_thread() {
        let local = Counter(Rc::new(1)).resilient(&resilience(1)).unwrap();
        assert_eq!(local.go(Rc::new(2)).await.unwrap(), 3);
        assert_eq!(local.twice(Rc::new(2)).await.unwrap(), 6);
    }
}

mod elsewhere {
    use super::*;

    /// Another crate that hands ours on under its own name.
    mod facade {
        pub(super) use fusebox_resilient as guard;
    }

    #[resilient(crate = facade::guard)]
    pub(super) trait Api {
        async fn call(&self) -> Result<(), Error>;
    }

    struct Broken;

    impl Api for Broken {
        async fn call(&self) -> Result<(), Error> {
            Err(Error::Broken)
        }
    }

    #[tokio::test]
    async fn an_error_without_classification_keeps_inner_refusals_neutral() {
        let (inner, outer) = (resilience(1), resilience(1));
        let api = Broken.resilient(&inner).unwrap();
        assert!(matches!(api.call().await, Err(Error::Broken)));
        let api = ResilientApi::new(api, &outer).unwrap();
        for _ in 0..3 {
            assert!(api.call().await.unwrap_err().is_refusal());
        }
        let counts = outer.registry().get("api").unwrap().snapshot().counts;
        assert_eq!((counts.neutral, counts.failure), (3, 0));
    }
}
