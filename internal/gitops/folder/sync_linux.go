package folder

import "golang.org/x/sys/unix"

// flush puts all temporary files on the disk with one call for their file system.
func (f *Folder) flush(batch) error {
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return unix.Syncfs(int(dir.Fd()))
}
