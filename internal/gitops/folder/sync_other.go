//go:build !linux

package folder

import "os"

// flush puts each temporary file on the disk.
func (f *Folder) flush(b batch) error {
	return f.each(b, func(in *os.Root, r replacement) error {
		file, err := in.Open(r.temporary)
		if err != nil {
			return err
		}
		defer file.Close()
		return file.Sync()
	})
}
