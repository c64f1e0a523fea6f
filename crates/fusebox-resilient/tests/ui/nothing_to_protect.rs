use fusebox_resilient::{Rejected, resilient};

#[resilient]
trait Client {
    fn fetch(&self) -> Result<u8, Rejected>;
}

fn main() {}
