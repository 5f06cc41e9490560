package kube

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
)

// What a frame of a WebSocket is (RFC 6455, section 5.2).
const (
	continued   = 0x0
	textFrame   = 0x1
	binaryFrame = 0x2
	closeFrame  = 0x8
	pingFrame   = 0x9
	pongFrame   = 0xA

	lastFrame = 0x80
	masked    = 0x80
)

// maxFrame is how much one frame holds that is sent, maxMessage how much a message may that is received, in bytes.
const (
	maxFrame   = 32 << 10
	maxMessage = 16 << 20
)

var errFrame = errors.New("the API server does not keep to the WebSocket protocol")

// message is the next message, io.EOF when there will be none. Pings are answered on the way.
func (e *execution) message() ([]byte, error) {
	var whole []byte
	for {
		kind, last, data, err := e.frame(maxMessage - len(whole))
		if err != nil {
			return nil, err
		}
		switch kind {
		case closeFrame:
			return nil, io.EOF
		case pingFrame:
			if err := e.send(pongFrame, data); err != nil {
				return nil, err
			}
		case continued, textFrame, binaryFrame:
			if whole = append(whole, data...); last {
				return whole, nil
			}
		}
	}
}

// frame reads one frame of no more than limit bytes.
func (e *execution) frame(limit int) (kind byte, last bool, data []byte, err error) {
	var head [8]byte
	if _, err = io.ReadFull(e.stream, head[:2]); err != nil {
		return 0, false, nil, err
	}
	kind, last = head[0]&0x0F, head[0]&lastFrame != 0
	if head[1]&masked != 0 { // which only clients do
		return 0, false, nil, errFrame
	}
	size := uint64(head[1])
	more := map[uint64]int{126: 2, 127: 8}[size]
	if more > 0 {
		if _, err = io.ReadFull(e.stream, head[:more]); err != nil {
			return 0, false, nil, err
		}
		size = binary.BigEndian.Uint64(append(make([]byte, 8-more), head[:more]...))
	}
	if size > uint64(limit) {
		return 0, false, nil, errFrame
	}
	data = make([]byte, size)
	_, err = io.ReadFull(e.stream, data)
	return kind, last, data, err
}

// send sends a message as one frame, masked as a client has to.
func (e *execution) send(kind byte, data []byte) error {
	frame := []byte{kind | lastFrame}
	switch {
	case len(data) < 126:
		frame = append(frame, masked|byte(len(data)))
	default:
		frame = binary.BigEndian.AppendUint16(append(frame, masked|126), uint16(len(data)))
	}
	var mask [4]byte
	rand.Read(mask[:])
	frame = append(frame, mask[:]...)
	for i, b := range data {
		frame = append(frame, b^mask[i%4])
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.stream.Write(frame)
	return err
}
