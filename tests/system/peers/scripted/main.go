// Command scripted is an HTTP/3 forward proxy that does to its clients what a
// test commands, in the order commanded.
//
// The http3 package speaks HTTP/3 well, so it offers no way to send a GOAWAY
// that names this stream or that one, or a STOP_SENDING of any code at any time.
// This program therefore leaves QUIC alone to quic-go, and writes the few frames
// of HTTP/3 itself. It does not decode requests: every one is for -target.
//
// Standard output tells of each event, and standard input takes the commands.
// Connections are counted from 0, and streams have their QUIC stream IDs:
//
//	listening ADDRESS
//	request CONNECTION STREAM       a request's head is complete
//	end CONNECTION STREAM           its FIN has arrived
//	reset CONNECTION STREAM CODE    or it was reset
//	stopped CONNECTION STREAM CODE  the client has sent STOP_SENDING
//	cut CONNECTION STREAM           a command to cut it is carried out
//	closed CONNECTION ERROR         the connection is over
//
//	goaway CONNECTION ID
//	answer CONNECTION STREAM STATUS to a request, with -hold
//	stop CONNECTION STREAM CODE     sends STOP_SENDING
//	cut CONNECTION STREAM CODE      sends RESET_STREAM
//	close CONNECTION CODE
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"

	"github.com/lucas-clemente/quic-go"
)

// The types of frames and of unidirectional streams (RFC 9114 sections 6.2 and
// 7.2), and the fields :status of QPACK's static table (RFC 9204 appendix A).
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameSettings = 0x4
	frameGoaway   = 0x7
	streamControl = 0x0

	codeConnectError quic.StreamErrorCode = 0x10f
)

// What a tunnel takes from its target and sends in one DATA frame.
const dataMax = 32 << 10

// stream is what this program needs of a quic.Stream, which is an interface in
// older releases of quic-go and a struct in newer ones.
type stream interface {
	io.ReadWriteCloser
	StreamID() quic.StreamID
	Context() context.Context
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
}

// request is a stream with a request. The status of its answer comes by
// answered.
type request struct {
	stream
	answered chan int
}

// client is a connection. Its functions hide whether quic-go has an interface
// or a struct for it.
type client struct {
	number   int
	accept   func() (stream, error)
	shut     func(code quic.ApplicationErrorCode)
	control  io.Writer
	mutex    sync.Mutex
	requests map[quic.StreamID]*request
}

var (
	target string
	hold   bool

	mutex   sync.Mutex
	clients []*client
)

// Output is one write for each line, which may come from any goroutine.
func tell(event string, c *client, arguments ...any) {
	line := fmt.Sprintln(append([]any{event, c.number}, arguments...)...)
	os.Stdout.WriteString(line)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("scripted: ")
	listen := flag.String("listen", "127.0.0.1:0", "UDP `address:port` to listen on")
	certFile := flag.String("cert", "", "PEM `file` with the certificate chain")
	keyFile := flag.String("key", "", "PEM `file` with the private key")
	flag.StringVar(&target, "target", "", "`host:port` that every request is for")
	flag.BoolVar(&hold, "hold", false, "answer no request before it is commanded")
	flag.Parse()
	certificate, err := tls.LoadX509KeyPair(*certFile, *keyFile)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := quic.ListenAddr(*listen, &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS13,
		NextProtos:   []string{"h3"},
	}, &quic.Config{Versions: []quic.VersionNumber{quic.Version1}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening %s\n", listener.Addr())
	go func() {
		for {
			conn, err := listener.Accept(context.Background())
			if err != nil {
				log.Fatal(err)
			}
			ctx := conn.Context()
			control, err := conn.OpenUniStream()
			if err != nil {
				log.Print(err)
				continue
			}
			c := &client{control: control, requests: map[quic.StreamID]*request{}}
			c.accept = func() (stream, error) { return conn.AcceptStream(ctx) }
			c.shut = func(code quic.ApplicationErrorCode) { conn.CloseWithError(code, "") }
			go func() {
				for {
					s, err := conn.AcceptUniStream(ctx)
					if err != nil {
						return
					}
					go io.Copy(io.Discard, s)
				}
			}()
			mutex.Lock()
			c.number = len(clients)
			clients = append(clients, c)
			mutex.Unlock()
			go c.serve()
		}
	}()
	commands := bufio.NewScanner(os.Stdin)
	for commands.Scan() {
		obey(commands.Text())
	}
}

// obey carries out one command. A test that gives a wrong one has an error.
func obey(command string) {
	var verb string
	var number int
	var id, value uint64
	n, _ := fmt.Sscan(command, &verb, &number, &id, &value)
	mutex.Lock()
	if n < 3 || number >= len(clients) {
		log.Fatalf("not a command: %q", command)
	}
	c := clients[number]
	mutex.Unlock()
	switch verb {
	case "goaway":
		c.control.Write(frame(frameGoaway, varint(nil, id)))
		return
	case "close":
		c.shut(quic.ApplicationErrorCode(id))
		return
	}
	c.mutex.Lock()
	r := c.requests[quic.StreamID(id)]
	c.mutex.Unlock()
	if r == nil || n < 4 {
		log.Fatalf("not a command: %q", command)
	}
	switch verb {
	case "answer":
		r.answered <- int(value)
	case "stop":
		r.CancelRead(quic.StreamErrorCode(value))
	case "cut":
		r.CancelWrite(quic.StreamErrorCode(value))
		tell("cut", c, id)
	default:
		log.Fatalf("not a command: %q", command)
	}
}

func (c *client) serve() {
	c.control.Write(append(varint(nil, streamControl), frame(frameSettings, nil)...))
	for {
		s, err := c.accept()
		if err != nil {
			tell("closed", c, err)
			return
		}
		r := &request{s, make(chan int, 1)}
		c.mutex.Lock()
		c.requests[s.StreamID()] = r
		c.mutex.Unlock()
		go c.tunnel(r)
	}
}

// tunnel serves one request. What the client sends after FIN or STOP_SENDING of
// one direction does not end the other.
func (c *client) tunnel(r *request) {
	in := bufio.NewReader(r)
	if kind, length, err := header(in); err != nil || kind != frameHeaders {
		c.over(r, err)
		return
	} else if _, err = io.CopyN(io.Discard, in, int64(length)); err != nil {
		c.over(r, err)
		return
	}
	tell("request", c, r.StreamID())
	status := 200
	if hold {
		select {
		case status = <-r.answered:
		case <-r.Context().Done():
			return
		}
	}
	conn, err := net.Dial("tcp", target)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	// No Required Insert Count, no Base, and :status by the static table's
	// name, with a value that is not compressed.
	fields := []byte{0, 0, 0x5f, 24 - 15, 3}
	r.Write(frame(frameHeaders, append(fields, fmt.Sprint(status)...)))
	if status != 200 {
		r.Close()
		return
	}
	up := make(chan bool)
	go func() {
		defer close(up)
		c.over(r, receive(in, conn))
		conn.(*net.TCPConn).CloseWrite()
	}()
	data := make([]byte, dataMax)
	for {
		n, err := conn.Read(data)
		if n > 0 {
			if _, err := r.Write(frame(frameData, data[:n])); err != nil {
				c.stopped(r, err)
				break
			}
		}
		if err == io.EOF {
			r.Close()
			break
		} else if err != nil {
			r.CancelWrite(codeConnectError)
			break
		}
	}
	<-up
}

// over tells how the client's direction has ended.
func (c *client) over(r *request, err error) {
	var code *quic.StreamError
	if err == nil || errors.Is(err, io.EOF) {
		tell("end", c, r.StreamID())
	} else if errors.As(err, &code) {
		tell("reset", c, r.StreamID(), uint64(code.ErrorCode))
	}
}

func (c *client) stopped(r *request, err error) {
	var code *quic.StreamError
	if errors.As(err, &code) {
		tell("stopped", c, r.StreamID(), uint64(code.ErrorCode))
	}
}

// receive writes the contents of the DATA frames until FIN.
func receive(in *bufio.Reader, out io.Writer) error {
	for {
		kind, length, err := header(in)
		if err != nil {
			return err
		}
		if kind != frameData {
			out = io.Discard
		}
		if _, err = io.CopyN(out, in, int64(length)); err != nil {
			return err
		}
	}
}

// ---- Frames (RFC 9114 section 7.1) and integers (RFC 9000 section 16) ----

func header(in *bufio.Reader) (kind, length uint64, err error) {
	if kind, err = integer(in); err == nil {
		length, err = integer(in)
	}
	return
}

func integer(in *bufio.Reader) (uint64, error) {
	first, err := in.ReadByte()
	if err != nil {
		return 0, err
	}
	value := uint64(first & 0x3f)
	for i := 1; i < 1<<(first>>6); i++ {
		next, err := in.ReadByte()
		if err != nil {
			return 0, io.ErrUnexpectedEOF
		}
		value = value<<8 | uint64(next)
	}
	return value, nil
}

func frame(kind uint64, payload []byte) []byte {
	return append(varint(varint(nil, kind), uint64(len(payload))), payload...)
}

// varint writes every number in eight bytes, which is as good as fewer.
func varint(b []byte, n uint64) []byte {
	for shift := 56; shift >= 0; shift -= 8 {
		octet := byte(n >> shift)
		if shift == 56 {
			octet |= 0xc0
		}
		b = append(b, octet)
	}
	return b
}
