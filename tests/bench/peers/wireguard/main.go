// Command wireguard is a proxy of the design that culvert replaces: it turns
// each TCP connection of its SOCKS5 clients into one of a TCP stack in user
// space, whose packets WireGuard carries to a second such stack on the far
// side, which connects to the origin.
//
//	client -- TCP --> local ===== WireGuard: IP packets =====> edge -- TCP --> origin
//	               SOCKS5, gVisor          UDP               gVisor
//
// It exists to be measured, so it knows IPv4 addresses alone, and both keys come
// of one secret. gVisor and wireguard-go are left as they are; their settings
// are those under which bulk is fastest.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"runtime/debug"
	"time"

	"golang.org/x/crypto/curve25519"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

const (
	// What IPv6 and an Ethernet leave of 1500 bytes; wg-quick has the same.
	mtu = 1420
	// A copy of this size costs few calls, and is in the processor's cache.
	copySize = 64 << 10
	// Each packet is an object or more; with the usual 100, collecting them
	// takes a quarter of the time.
	gcPercent   = 400
	dialTimeout = 10 * time.Second
)

var (
	localAddress = netip.MustParseAddr("10.98.0.1")
	edgeAddress  = netip.MustParseAddr("10.98.0.2")
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("wireguard: ")
	listen := flag.String("listen", "", "local: TCP `address:port` of the SOCKS5 server")
	edge := flag.String("edge", "", "local: UDP `address:port` of the edge")
	port := flag.Int("port", 0, "edge: UDP `port`")
	secret := flag.String("secret", "culvert", "`text` that both sides have")
	flag.Parse()
	if flag.NArg() != 0 || (*port == 0) == (*edge == "" || *listen == "") {
		log.Fatal("either -port, or -listen and -edge")
	}
	debug.SetGCPercent(gcPercent)
	var err error
	if *port != 0 {
		err = serveEdge(*port, *secret)
	} else {
		err = serveLocal(*listen, *edge, *secret)
	}
	log.Fatal(err)
}

func serveLocal(listen, edge, secret string) error {
	link := newLink(localAddress)
	err := startWireGuard(link, keyOf("local", secret), fmt.Sprintf(
		"public_key=%x\nendpoint=%s\nallowed_ip=0.0.0.0/0\n",
		public(keyOf("edge", secret)), edge))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	fmt.Printf("listening %s\n", listener.Addr())
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go serveClient(client.(*net.TCPConn), link)
	}
}

func serveEdge(port int, secret string) error {
	link := newLink(edgeAddress)
	link.acceptAll(func(target string) (*net.TCPConn, error) {
		conn, err := net.DialTimeout("tcp", target, dialTimeout)
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	})
	err := startWireGuard(link, keyOf("edge", secret), fmt.Sprintf(
		"listen_port=%d\npublic_key=%x\nallowed_ip=%s/32\n",
		port, public(keyOf("local", secret)), localAddress))
	if err != nil {
		return err
	}
	fmt.Printf("listening :%d\n", port)
	select {}
}

// startWireGuard runs WireGuard between a link and UDP. `peer` is the rest of
// its configuration.
func startWireGuard(link *link, private [32]byte, peer string) error {
	wg := device.NewDevice(link, conn.NewDefaultBind(),
		device.NewLogger(device.LogLevelError, "wireguard: "))
	if err := wg.IpcSet("private_key=" + hex.EncodeToString(private[:]) +
		"\n" + peer); err != nil {
		return err
	}
	return wg.Up()
}

func keyOf(side, secret string) [32]byte {
	return sha256.Sum256([]byte(side + " " + secret))
}

func public(private [32]byte) []byte {
	key, err := curve25519.X25519(private[:], curve25519.Basepoint)
	if err != nil {
		log.Fatal(err)
	}
	return key
}

// serveClient answers one SOCKS5 client (RFC 1928), which wants no
// authentication and connects to an IPv4 address. What it sends early stays in
// the kernel.
func serveClient(client *net.TCPConn, link *link) {
	defer client.Close()
	target, err := readRequest(client)
	if err != nil {
		log.Printf("a client: %v", err)
		return
	}
	reply := []byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	conn, err := link.dial(target)
	if err != nil {
		log.Printf("%s: %v", target, err)
		reply[1] = 4 // host unreachable
		client.Write(reply)
		return
	}
	defer conn.Close()
	if _, err := client.Write(reply); err == nil {
		relay(client, conn)
	}
}

func readRequest(client *net.TCPConn) (target netip.AddrPort, err error) {
	var b [255]byte
	if _, err = io.ReadFull(client, b[:2]); err != nil {
		return
	}
	if _, err = io.ReadFull(client, b[:b[1]]); err != nil {
		return
	}
	if _, err = client.Write([]byte{5, 0}); err != nil {
		return
	}
	if _, err = io.ReadFull(client, b[:10]); err != nil {
		return
	}
	if b[0] != 5 || b[1] != 1 || b[3] != 1 {
		return target, fmt.Errorf("its request is not to connect to IPv4")
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])),
		uint16(b[8])<<8|uint16(b[9])), nil
}

// stream is a TCP connection, of the kernel or of the stack in user space.
type stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// relay carries bytes both ways until both have ended.
func relay(a, b stream) {
	done := make(chan struct{})
	go func() {
		carry(a, b)
		close(done)
	}()
	carry(b, a)
	<-done
}

// carry copies until the end, and passes that on. After an error both are of no
// use.
func carry(from, to stream) {
	// Without the methods of net.TCPConn, which would copy in small pieces.
	_, err := io.CopyBuffer(struct{ io.Writer }{to},
		struct{ io.Reader }{from}, make([]byte, copySize))
	if err == nil {
		err = to.CloseWrite()
	}
	if err != nil {
		from.Close()
		to.Close()
	}
}
