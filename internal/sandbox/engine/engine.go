// Package engine is the privileged side of a sandbox: it keeps layers on disk, runs steps on them in user namespaces or by
// chroot, and leaves nothing behind when the build is gone.
package engine
