// Package layerdir keeps layers of a root filesystem as directories in the form that Linux' overlayfs has them, so that a
// stack of them can be mounted, or copied where nothing can be mounted, and turns them from and into tars.
//
// In a layer directory a character device 0:0 (or 0:1, where overlayfs does not let that be made) hides what is below its
// name in the stack, and a directory with the attribute user.overlay.opaque=y hides what is below in that directory. The
// tars are those of the OCI image specification's layer.md.
//
// What tars and directories hold is not trusted: every name is resolved inside of its directory, by file descriptors.
// Nobody else may change a directory while a function here works on it. All of this wants root's capabilities that Docker
// gives by default: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, MKNOD, SETFCAP.
package layerdir
