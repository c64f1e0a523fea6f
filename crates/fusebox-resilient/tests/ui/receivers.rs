use std::sync::Arc;

use fusebox_resilient::{Rejected, resilient};

#[resilient]
trait Client {
    async fn fetch(self: Arc<Self>) -> Result<u8, Rejected>;
    async unsafe fn raw(&self) -> Result<u8, Rejected>;
}

fn main() {}
