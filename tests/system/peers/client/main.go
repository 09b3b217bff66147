// Command client opens a number of CONNECT tunnels over one HTTP/3 connection
// and checks the bytes that come back through them.
//
// It exists so that the system tests can have culvert's edge serve an HTTP/3
// implementation which shares no code with it. Everything on the wire (QUIC,
// HTTP/3 framing, QPACK) is therefore left to quic-go. The result is one line
// of JSON on standard output, and exit status 0 only if every tunnel was ok.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/lucas-clemente/quic-go"
	"github.com/lucas-clemente/quic-go/http3"
)

const (
	// A fault often hits every tunnel alike, and the report should stay a
	// line that a person can read.
	maxErrors = 10
	// An upload's answer is meant to be a digest; anything much longer is
	// a mistake in the test, and must not fill the memory.
	maxAnswer = 64 << 10
	// The last FIN may still be in the send queue when the last tunnel ends,
	// and quic-go has no call that waits for its delivery.
	linger = 100 * time.Millisecond
)

var errAborted = errors.New("tunnel aborted")

// options are the flags, shared read-only by all tunnels.
type options struct {
	edge, target, mode, user string
	guess, insist            bool
	bytes                    int64
}

// outcome is what one tunnel has to say. The sha256 covers the bytes received
// in a download, and the bytes sent otherwise.
type outcome struct {
	index  int
	bytes  int64
	sha256 string
	answer string
	status int
	told   string
	err    error
}

// report is the program's output. Bytes is the sum over the good tunnels,
// while SHA256 and Answer are those of the first tunnel alone: a test that
// wants to check a digest by itself then needs to know only one seed.
type report struct {
	Tunnels int      `json:"tunnels"`
	OK      int      `json:"ok"`
	Failed  int      `json:"failed"`
	Bytes   int64    `json:"bytes"`
	SHA256  string   `json:"sha256"`
	Answer  string   `json:"answer,omitempty"`
	Errors  []string `json:"errors"`
	// How many refusals there were of each status, and of each the first
	// one's Retry-After and body.
	Statuses map[int]int    `json:"statuses"`
	Told     map[int]string `json:"told"`
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("client: ")
	var o options
	flag.StringVar(&o.edge, "edge", "", "`host:port` of the HTTP/3 proxy")
	flag.StringVar(&o.target, "target", "", "`host:port` to ask the proxy for")
	flag.StringVar(&o.mode, "mode", "download", "download, upload, echo, or deaf: an upload that wants no answer, until standard input ends")
	flag.StringVar(&o.user, "user", "", "`name:password` for proxy-authorization")
	flag.BoolVar(&o.guess, "guess", false, "append the tunnel's number to the password")
	flag.BoolVar(&o.insist, "insist", false, "when refused, send until the proxy says to stop")
	flag.Int64Var(&o.bytes, "bytes", 0, "bytes to send per tunnel, or to expect in a download (0 there: any number)")
	caFile := flag.String("ca", "", "PEM `file` with the trusted certificates")
	insecure := flag.Bool("insecure", false, "trust whatever certificate there is")
	serverName := flag.String("servername", "", "`name` the proxy's certificate must carry (default: host of -edge)")
	tunnels := flag.Int("tunnels", 1, "how many tunnels to run at once")
	timeout := flag.Duration("timeout", 2*time.Minute, "how long the whole run may take")
	flag.Parse()
	if o.edge == "" || o.target == "" || *tunnels < 1 || o.bytes < 0 || flag.NArg() != 0 {
		log.Fatal("need -edge, -target, at least one tunnel and no negative -bytes (see -help)")
	}
	if o.mode != "download" && o.mode != "upload" && o.mode != "echo" && o.mode != "deaf" {
		log.Fatalf("unknown mode %q", o.mode)
	}

	// A given file replaces the system's trust store, so that a test cannot
	// pass by way of a certificate it did not mean to trust.
	tlsConfig := &tls.Config{ServerName: *serverName, MinVersion: tls.VersionTLS13,
		InsecureSkipVerify: *insecure}
	if *caFile != "" {
		pem, err := os.ReadFile(*caFile)
		if err != nil {
			log.Fatal(err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			log.Fatalf("%s: no certificate found", *caFile)
		}
	}
	transport := &http3.RoundTripper{
		TLSClientConfig: tlsConfig,
		// Otherwise the package would add accept-encoding to the CONNECT and
		// be ready to gunzip a tunnel.
		DisableCompression: true,
		QuicConfig: &quic.Config{
			// The package derives the ALPN name from the version: 1 gives "h3".
			Versions:        []quic.VersionNumber{quic.Version1},
			KeepAlivePeriod: 10 * time.Second,
			// The defaults (512 KB at first) make a bulk transfer wait for
			// window updates, and the tests would then measure this peer.
			InitialStreamReceiveWindow:     4 << 20,
			MaxStreamReceiveWindow:         16 << 20,
			InitialConnectionReceiveWindow: 16 << 20,
			MaxConnectionReceiveWindow:     64 << 20,
		},
	}

	// All tunnels share the transport, and it keeps one connection for each
	// proxy. Tunnels beyond the proxy's stream limit wait inside it for credit.
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	outcomes := make(chan outcome)
	for i := 0; i < *tunnels; i++ {
		go func(index int) { outcomes <- run(ctx, transport, &o, index) }(i)
	}
	// Errors starts as an empty list because nil would be written as null.
	result := report{Tunnels: *tunnels, Errors: []string{},
		Statuses: map[int]int{}, Told: map[int]string{}}
	for i := 0; i < *tunnels; i++ {
		result.add(<-outcomes)
	}
	if o.mode == "deaf" {
		io.Copy(io.Discard, os.Stdin)
	}
	time.Sleep(linger)
	transport.Close()

	if err := json.NewEncoder(os.Stdout).Encode(&result); err != nil {
		log.Fatal(err)
	}
	if result.Failed != 0 {
		os.Exit(1)
	}
}

func (r *report) add(o outcome) {
	if o.index == 0 {
		r.SHA256, r.Answer = o.sha256, o.answer
	}
	if o.err == nil {
		r.OK++
		r.Bytes += o.bytes
		return
	}
	r.Failed++
	if o.status != 0 && r.Statuses[o.status] == 0 {
		r.Told[o.status] = o.told
	}
	if o.status != 0 {
		r.Statuses[o.status]++
	}
	if len(r.Errors) < maxErrors {
		r.Errors = append(r.Errors, fmt.Sprintf("tunnel %d: %v", o.index, o.err))
	}
}

// run opens one tunnel, sees it through, and says how it went.
func run(ctx context.Context, transport *http3.RoundTripper, o *options, index int) outcome {
	out := outcome{index: index}
	sent := newUpload(o, index)
	// The URL says which proxy to connect to, while Host becomes :authority.
	// For a CONNECT the package sends neither :scheme nor :path.
	request := (&http.Request{
		Method: http.MethodConnect,
		URL:    &url.URL{Scheme: "https", Host: o.edge},
		Host:   o.target,
		Header: http.Header{},
		Body:   sent,
	}).WithContext(ctx)
	if o.user != "" {
		user := o.user
		if o.guess {
			user += fmt.Sprint(index)
		}
		credentials := base64.StdEncoding.EncodeToString([]byte(user))
		request.Header.Set("Proxy-Authorization", "Basic "+credentials)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		close(sent.abort)
		out.err = err
		return out
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		out.status = response.StatusCode
		out.err = fmt.Errorf("status %d", response.StatusCode)
		if o.insist {
			close(sent.start)
			if !sent.stopped(ctx) {
				out.err = errors.New("nobody said stop")
			}
		} else {
			close(sent.abort)
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
		if err != nil {
			out.err = err
		}
		out.told = response.Header.Get("Retry-After") + ": " + string(body)
		return out
	}

	switch o.mode {
	case "download":
		// Our own direction stays open until the target has finished, so
		// that the target's end of data is the first end the edge sees.
		out.download(response.Body, o.bytes)
		close(sent.start)
	case "upload":
		close(sent.start)
		out.upload(response.Body, sent)
	case "deaf":
		// STOP_SENDING, and then all that there is to say.
		response.Body.Close()
		close(sent.start)
		<-sent.closed
		out.bytes = sent.count
	case "echo":
		close(sent.start)
		out.echo(response.Body, o.bytes)
	}
	if out.err != nil {
		close(sent.abort)
	}
	return out
}

// download takes whatever comes until the end of the stream.
func (out *outcome) download(body io.Reader, want int64) {
	digest := sha256.New()
	out.bytes, out.err = io.Copy(digest, body)
	out.sha256 = hex.EncodeToString(digest.Sum(nil))
	if out.err == nil && want != 0 && out.bytes != want {
		out.err = fmt.Errorf("received %d bytes, wanted %d", out.bytes, want)
	}
}

// upload reads the target's answer. An answer in the shape of a SHA-256 in
// hex must be that of the bytes sent; any other is only reported.
func (out *outcome) upload(body io.Reader, sent *upload) {
	answer, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	out.answer = string(bytes.TrimSpace(answer))
	if err != nil {
		out.err = err
		return
	}
	// The sender's counters belong to the package's goroutine until it has
	// let go of the body. A target that answers before it has read everything
	// would have left some of the data unsent.
	select {
	case <-sent.closed:
	case <-time.After(time.Second):
		out.err = errors.New("the answer ended before the upload did")
		return
	}
	out.bytes, out.sha256 = sent.count, hex.EncodeToString(sent.digest.Sum(nil))
	if sent.count != sent.size {
		out.err = fmt.Errorf("sent %d bytes of %d", sent.count, sent.size)
	} else if raw, err := hex.DecodeString(out.answer); err == nil && len(raw) == sha256.Size && out.answer != out.sha256 {
		out.err = fmt.Errorf("sent sha256 %s, but the answer is %s", out.sha256, out.answer)
	}
}

// echo compares what comes back, chunk by chunk, with a second generator on
// the same seed, so that an error can name the place of the first difference.
func (out *outcome) echo(body io.Reader, want int64) {
	expected := newGenerator(out.index)
	digest := sha256.New()
	got, wanted := make([]byte, 32<<10), make([]byte, 32<<10)
	for {
		n, err := body.Read(got)
		expected.Read(wanted[:n])
		if !bytes.Equal(got[:n], wanted[:n]) {
			out.err = fmt.Errorf("echo differs within %d bytes after offset %d", n, out.bytes)
			return
		}
		digest.Write(got[:n])
		out.bytes += int64(n)
		if err == io.EOF {
			break
		} else if err != nil {
			out.err = err
			return
		}
	}
	out.sha256 = hex.EncodeToString(digest.Sum(nil))
	if out.bytes != want {
		out.err = fmt.Errorf("echo of %d bytes, wanted %d", out.bytes, want)
	}
}

// upload is the request's body, that is, the tunnel's outgoing direction. The
// http3 package reads it in a goroutine of its own, sends FIN after io.EOF,
// and resets the stream after any other error. The package starts reading
// before the answer is there, so the body holds back until start is closed.
type upload struct {
	start, abort, closed chan struct{}
	closing              sync.Once
	data                 io.Reader
	digest               hash.Hash
	count, size          int64
}

func newUpload(o *options, index int) *upload {
	u := &upload{digest: sha256.New()}
	u.start, u.abort, u.closed = make(chan struct{}), make(chan struct{}), make(chan struct{})
	if o.mode != "download" {
		u.size = o.bytes
	}
	u.data = io.LimitReader(newGenerator(index), u.size)
	return u
}

// stopped waits until the package has let go of the body, and says whether it
// did so before the end.
func (u *upload) stopped(ctx context.Context) bool {
	select {
	case <-u.closed:
		return u.count < u.size
	case <-ctx.Done():
		return false
	}
}

func (u *upload) Read(p []byte) (int, error) {
	select {
	case <-u.abort:
		return 0, errAborted
	case <-u.start:
	}
	n, err := u.data.Read(p)
	u.digest.Write(p[:n])
	u.count += int64(n)
	return n, err
}

// Close is called by the http3 package alone, twice by a later one.
func (u *upload) Close() error {
	u.closing.Do(func() { close(u.closed) })
	return nil
}

// generator is an endless xorshift64* sequence, each output written as eight
// bytes, least significant first. The seed differs from tunnel to tunnel so
// that a mix-up of two tunnels cannot go unseen, and it is a fixed function of
// the index (0 for the first tunnel) so that a test can repeat the sequence.
type generator struct {
	state uint64
	word  [8]byte
	used  int
}

func newGenerator(index int) *generator {
	return &generator{state: 0x9E3779B97F4A7C15 * uint64(index+1), used: 8}
}

func (g *generator) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if g.used == len(g.word) {
			g.state ^= g.state >> 12
			g.state ^= g.state << 25
			g.state ^= g.state >> 27
			binary.LittleEndian.PutUint64(g.word[:], g.state*0x2545F4914F6CDD1D)
			g.used = 0
		}
		copied := copy(p[n:], g.word[g.used:])
		g.used += copied
		n += copied
	}
	return len(p), nil
}
