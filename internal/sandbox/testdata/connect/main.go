// Connect prints what it reads from a Unix socket until that ends.
package main

import (
	"io"
	"log"
	"net"
	"os"
)

func main() {
	c, err := net.Dial("unix", os.Args[1])
	if err == nil {
		_, err = io.Copy(os.Stdout, c)
	}
	if err != nil {
		log.Fatal(err)
	}
}
