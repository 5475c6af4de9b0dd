// Command tls serves TLS on loopback ports, one for each case, and reports for each a kubeconfig and whether Go's
// own client connects with it. It prints one JSON object in a line for each case, and serves until its input ends. A
// test connects by the same kubeconfigs and compares.
//
// K8S_CONNECT_TLS_MUTATIONS=COUNT:SEED adds as many certificates with one byte changed before they are signed.
package main

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	cases := append(allCases(), mutations(os.Getenv("K8S_CONNECT_TLS_MUTATIONS"))...)
	reports := make([]report, len(cases))
	var tried sync.WaitGroup
	for i := range cases {
		tried.Go(func() { reports[i] = cases[i].try() })
	}
	tried.Wait()
	out := json.NewEncoder(os.Stdout)
	for _, r := range reports {
		check(out.Encode(r))
	}
	check(os.Stdout.Close())
	_, err := io.Copy(io.Discard, os.Stdin)
	check(err)
}

// report is a case as the test reads it.
type report struct {
	Name       string `json:"name"`
	Kubeconfig string `json:"kubeconfig"`
	Accepted   bool   `json:"accepted"`
	Error      string `json:"error"`
}

// try serves the case and connects to it as kubectl does.
func (c testCase) try() report {
	r := report{Name: c.name, Kubeconfig: c.kubeconfig(c.serve())}
	if err := get(r.Kubeconfig); err != nil {
		r.Error = err.Error()
	} else {
		r.Accepted = true
	}
	return r
}

func get(kubeconfig string) error {
	config, err := clientcmd.RESTConfigFromKubeConfig([]byte(kubeconfig))
	if err != nil {
		return err
	}
	config.Timeout = 20 * time.Second
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	answer, err := client.Get(config.Host + "/version")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", answer.StatusCode)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// serve returns the URL of a server that answers every request like GET /version.
func (c testCase) serve() string {
	host := c.host
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	check(err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	check(err)
	if !c.plain {
		config := &tls.Config{Certificates: []tls.Certificate{{Certificate: c.chain, PrivateKey: c.key}}}
		if c.server != nil {
			c.server(config)
		}
		listener = tls.NewListener(listener, config)
	}
	server := &http.Server{Handler: http.HandlerFunc(version), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { check(server.Serve(listener)) }()
	return "https://" + net.JoinHostPort(host, port)
}

func version(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"gitVersion": "v1.37.0"}`)
}

// kubeconfig is JSON, which is YAML as well.
func (c testCase) kubeconfig(server string) string {
	type object = map[string]any
	cluster, user := object{"server": server}, object{}
	set := func(o object, name string, value any, is bool) {
		if is {
			o[name] = value
		}
	}
	set(cluster, "certificate-authority-data", c.authority, c.authority != nil)
	set(cluster, "insecure-skip-tls-verify", true, c.insecure)
	set(cluster, "tls-server-name", c.serverName, c.serverName != "")
	set(user, "client-certificate-data", c.clientCertificate, c.clientCertificate != nil)
	set(user, "client-key-data", c.clientKey, c.clientKey != nil)
	text, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "case",
		"clusters": []object{{"name": "case", "cluster": cluster}},
		"users":    []object{{"name": "case", "user": user}},
		"contexts": []object{{"name": "case", "context": object{"cluster": "case", "user": "case"}}},
	})
	check(err)
	return string(text)
}

func check(err error) {
	if err != nil {
		log.Fatal("tls: ", err)
	}
}
