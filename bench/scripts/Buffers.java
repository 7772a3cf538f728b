// SPDX-License-Identifier: MIT
// Direct buffers and deflaters, whose memory is malloc's, from two threads. The argument: how many buffers each makes.
import java.nio.ByteBuffer;
import java.util.Random;
import java.util.zip.Deflater;

public class Buffers {
	static long work(int seed, int buffers) {
		final Random random = new Random(seed);
		final ByteBuffer[] kept = new ByteBuffer[300];
		final byte[] in = new byte[4096], out = new byte[8192];
		long sum = 0;

		for (int i = 0; i < buffers; i++) {
			final ByteBuffer b = ByteBuffer.allocateDirect(64 + random.nextInt(8000));
			b.put(0, (byte) i);
			kept[random.nextInt(kept.length)] = b;
			if (i % 40 == 0) {
				final Deflater deflater = new Deflater();
				random.nextBytes(in);
				deflater.setInput(in);
				deflater.finish();
				sum += deflater.deflate(out);
				deflater.end();
			}
		}
		return sum;
	}

	public static void main(String[] args) throws Exception {
		final int buffers = Integer.parseInt(args[0]);
		final Thread other = new Thread(() -> work(2, buffers));

		other.start();
		System.out.println(work(1, buffers));
		other.join();
	}
}
