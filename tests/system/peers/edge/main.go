// Command edge is a small HTTP/3 forward proxy that serves only CONNECT.
//
// It exists so that the system tests can point culvert at an HTTP/3
// implementation which shares no code with it. Everything on the wire (QUIC,
// HTTP/3 framing, QPACK) is therefore left to quic-go, and this file adds no
// more than the proxying: dial the target, answer, and carry bytes.
package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lucas-clemente/quic-go"
	"github.com/lucas-clemente/quic-go/http3"
)

// The HTTP/3 error codes of RFC 9114 section 8.1 which this proxy chooses
// itself. The http3 package keeps its own copies unexported.
const (
	codeRequestCancelled quic.StreamErrorCode = 0x10c
	codeMessageError     quic.StreamErrorCode = 0x10e
	codeConnectError     quic.StreamErrorCode = 0x10f
)

// The dial limit is short because every target in the tests is on this
// machine: a slow dial is a failed one, and the client should learn it soon.
const dialTimeout = 10 * time.Second

// stopAfterFin has a tunnel end both ways when its target closes first.
var stopAfterFin bool

func main() {
	log.SetFlags(0)
	log.SetPrefix("edge: ")
	listen := flag.String("listen", "127.0.0.1:0", "UDP `address:port` to listen on")
	certFile := flag.String("cert", "", "PEM `file` with the certificate chain")
	keyFile := flag.String("key", "", "PEM `file` with the private key")
	maxStreams := flag.Int64("max-streams", 100, "how many tunnels one connection may have open at once")
	alpn := flag.String("alpn", "h3", "the one application `protocol` to agree to, or empty to name none")
	flag.BoolVar(&stopAfterFin, "stop-after-fin", false, "answer a target's FIN with FIN and STOP_SENDING (0x10e), as h2o does")
	flag.Parse()
	if flag.NArg() != 0 {
		log.Fatalf("unexpected argument %q", flag.Arg(0))
	}
	// quic-go reads zero as "use the default" and a negative number as "none",
	// so a caller who asks for either would not get what was asked for.
	if *maxStreams < 1 {
		log.Fatal("-max-streams must be at least 1")
	}

	certificate, err := tls.LoadX509KeyPair(*certFile, *keyFile)
	if err != nil {
		log.Fatal(err)
	}
	tlsConfig := &tls.Config{
		Certificates: []tls.Certificate{certificate},
		MinVersion:   tls.VersionTLS13,
	}
	// With another name than h3 this is a QUIC server that no HTTP/3 client
	// may get on with, which is a peer to be tested against too.
	if *alpn != "" {
		tlsConfig.NextProtos = []string{*alpn}
	}
	config := &quic.Config{
		Versions:           []quic.VersionNumber{quic.Version1},
		MaxIncomingStreams: *maxStreams,
		// The defaults (512 KB at first) make a bulk transfer wait for
		// window updates, and the tests would then measure this peer.
		InitialStreamReceiveWindow:     4 << 20,
		MaxStreamReceiveWindow:         16 << 20,
		InitialConnectionReceiveWindow: 16 << 20,
		MaxConnectionReceiveWindow:     64 << 20,
	}
	listener, err := quic.ListenAddrEarly(*listen, tlsConfig, config)
	if err != nil {
		log.Fatal(err)
	}
	// The line comes only now, because a test takes it as leave to connect,
	// and it names the bound address, because a test may ask for port 0.
	fmt.Printf("listening %s\n", listener.Addr())

	server := &http3.Server{Handler: http.HandlerFunc(serve)}
	log.Fatal(server.ServeListener(listener))
}

// serve answers one request. It returns only when the tunnel is over; each
// request has a goroutine of its own in the server, so nothing else waits.
func serve(w http.ResponseWriter, r *http.Request) {
	if status := judge(r); status != http.StatusOK {
		log.Printf("refused %s %s with %d", r.Method, r.Host, status)
		w.WriteHeader(status)
		return
	}
	// The request's context ends when the client gives the stream up, so a
	// client that leaves early does not keep a dial going.
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		log.Printf("CONNECT %s: %v", r.Host, err)
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	// The header is flushed at once, since the client may be waiting for it
	// before it sends the bytes that the target in turn waits for.
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	// Taking the stream over tells the server to leave its closing to us;
	// otherwise it would end the stream in its own way when serve returns.
	stream := r.Body.(http3.HTTPStreamer).HTTPStream()
	if err := relay(stream, conn.(*net.TCPConn)); err != nil {
		log.Printf("CONNECT %s: %v", r.Host, err)
	}
}

// judge decides the status of a request before any dial. The http3 package
// has by now refused a CONNECT without :authority or with :path, but it lets
// :scheme pass, which RFC 9114 section 4.4 forbids. A test against this edge
// should fail on such a request rather than hide it.
func judge(r *http.Request) int {
	if r.Method != http.MethodConnect {
		return http.StatusMethodNotAllowed
	}
	// The package stores the :protocol of an extended CONNECT here. For a
	// plain one it leaves the field empty or, in newer releases, names HTTP.
	if r.Proto != "" && r.Proto != "HTTP/3.0" {
		return http.StatusNotImplemented
	}
	if r.URL.Scheme != "" {
		return http.StatusBadRequest
	}
	if _, _, err := net.SplitHostPort(r.Host); err != nil {
		return http.StatusBadRequest
	}
	return http.StatusOK
}

// tunnel is what relay needs of an http3.Stream, which is an interface in older
// releases of quic-go and a struct in newer ones.
type tunnel interface {
	io.ReadWriteCloser
	CancelRead(quic.StreamErrorCode)
	CancelWrite(quic.StreamErrorCode)
}

// relay carries bytes both ways until both ways have ended, and returns the
// error that ended the tunnel early, if one did. An end of one direction is
// passed on as an end of that direction alone, because a target may well
// answer only after it has seen the last of its input.
func relay(stream tunnel, conn *net.TCPConn) error {
	defer conn.Close()
	// io.Copy would otherwise prefer the ReadFrom and WriteTo of net.TCPConn,
	// and those wrap an error of the other side too in a net.OpError, so that
	// abort could no longer tell the sides apart.
	target := struct {
		io.Reader
		io.Writer
	}{conn, conn}
	results := make(chan error, 2)
	var stopped atomic.Bool
	go func() {
		_, err := io.Copy(target, stream)
		if stopped.Load() {
			err = nil
		}
		if err == nil {
			err = conn.CloseWrite()
		}
		results <- err
	}()
	go func() {
		_, err := io.Copy(stream, target)
		if err == nil {
			err = stream.Close()
		}
		if err == nil && stopAfterFin {
			stopped.Store(true)
			stream.CancelRead(codeMessageError)
		}
		results <- err
	}()

	var first error
	for i := 0; i < 2; i++ {
		err := <-results
		if err == nil || first != nil {
			continue
		}
		first = err
		// Tearing both ends down also unblocks the other direction, whose
		// own error then says nothing new and is dropped.
		abort(stream, conn, err)
	}
	return first
}

// abort makes both ends of a broken tunnel see that it broke. A quiet close
// on either side could be taken for the whole of the data.
func abort(stream tunnel, conn *net.TCPConn, cause error) {
	// Only the TCP side reports a net.OpError. Anything else came from the
	// stream or its connection, where the client is the one who gave up.
	code := codeRequestCancelled
	var tcpError *net.OpError
	if errors.As(cause, &tcpError) {
		code = codeConnectError
	}
	stream.CancelWrite(code)
	stream.CancelRead(code)
	// A linger of zero turns the close into a reset, which RFC 9114 section
	// 4.4 asks for when the client aborts the stream.
	conn.SetLinger(0)
	conn.Close()
}
