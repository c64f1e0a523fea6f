use fusebox_resilient::resilient;

#[resilient]
struct Client;

#[resilient]
impl Client {}

#[resilient]
async fn fetch() {}

fn main() {}
