//! Network namespaces: finding one by its inode, and running code inside it.
