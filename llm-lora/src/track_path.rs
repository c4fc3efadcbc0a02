//! The path of a parameter in the module tree, for visitors and mappers that go by names.

/// The two methods by which a visitor or mapper with a field `path: Vec<String>` keeps track of where it is.
macro_rules! track_path {
    () => {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
    };
}

pub(crate) use track_path;
