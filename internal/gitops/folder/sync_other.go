//go:build !linux

package folder

// flush puts each staged file on the disk.
func (f *Folder) flush(staged map[string]string) error {
	for _, temporary := range staged {
		file, err := f.root.Open(temporary)
		if err != nil {
			return err
		}
		err = file.Sync()
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
